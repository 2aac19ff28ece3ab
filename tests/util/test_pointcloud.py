import numpy as np
import pytest

from util.pointcloud import depth_to_points, write_ply

K = np.array([[20.0, 0, 1.7], [0, 30.0, 0.4], [0, 0, 1]])


def picture(height, width):
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def read_ply(path):
    header, _, body = path.read_bytes().partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    properties = [line.split()[1:] for line in lines if line.startswith("property")]
    count = next(int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    kinds = {"float": "<f4", "uchar": "u1"}
    return np.frombuffer(body, dtype=[(name, kinds[kind]) for kind, name in properties], count=count), len(body)


def test_points_project_back_to_their_pixels_at_their_depth():
    depth_mm = np.random.default_rng(0).uniform(5, 90, (3, 4))
    points, _ = depth_to_points(depth_mm, K, picture(3, 4))
    pixels = points @ K.T
    v, u = np.mgrid[:3, :4]
    np.testing.assert_allclose(pixels[:, 0] / pixels[:, 2], u.ravel(), atol=1e-4)  # points are float32
    np.testing.assert_allclose(pixels[:, 1] / pixels[:, 2], v.ravel(), atol=1e-4)
    np.testing.assert_allclose(points[:, 2], depth_mm.ravel(), rtol=1e-6)


def test_only_valid_pixels_become_points_with_their_own_colours():
    depth_mm = np.array([[10.0, 0.0, np.nan], [np.inf, 20.0, -5.0]])
    rgb = picture(2, 3)
    points, colors = depth_to_points(depth_mm, K, rgb)
    np.testing.assert_allclose(points[:, 2], [10, 20])
    np.testing.assert_array_equal(colors, [rgb[0, 0], rgb[1, 1]])
    assert points.dtype == np.float32


def test_what_lies_too_deep_is_left_out():
    points, _ = depth_to_points(np.array([[10.0, 50.0, 50.1]]), K, picture(1, 3), max_depth_mm=50.0)
    np.testing.assert_allclose(points[:, 2], [10, 50])


def test_no_valid_pixel_gives_no_points():
    points, colors = depth_to_points(np.zeros((2, 2)), K, picture(2, 2))
    assert points.shape == colors.shape == (0, 3)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(H, W\), \(3, 3\) and \(H, W, 3\)"):
        depth_to_points(np.ones((2, 3)), K, picture(3, 2))


@pytest.mark.parametrize("count", [0, 1, 257])
def test_a_file_holds_what_was_written(tmp_path, count):
    rng = np.random.default_rng(count)
    points = rng.normal(0, 50, (count, 3))
    colors = rng.integers(0, 256, (count, 3), dtype=np.uint8)
    write_ply(tmp_path / "cloud.ply", points, colors)
    vertices, size = read_ply(tmp_path / "cloud.ply")
    assert size == count * 15
    np.testing.assert_array_equal(np.stack([vertices[axis] for axis in "xyz"], axis=1), points.astype(np.float32))
    np.testing.assert_array_equal(np.stack([vertices[c] for c in ("red", "green", "blue")], axis=1), colors)


def test_another_program_reads_the_file(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    points = np.array([[0.0, 1.0, 2.0], [3.5, -4.0, 50.0]])
    colors = np.array([[255, 0, 10], [1, 2, 3]], dtype=np.uint8)
    write_ply(tmp_path / "cloud.ply", points, colors)
    cloud = trimesh.load(tmp_path / "cloud.ply")
    np.testing.assert_allclose(cloud.vertices, points)
    np.testing.assert_array_equal(np.asarray(cloud.colors)[:, :3], colors)


def test_a_refused_cloud_leaves_the_old_file(tmp_path):
    path = tmp_path / "cloud.ply"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="uint8"):
        write_ply(path, np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        write_ply(path, np.zeros((2, 3)), np.zeros((3, 3), dtype=np.uint8))
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["cloud.ply"]


def test_the_header_names_the_unit(tmp_path):
    write_ply(tmp_path / "a.ply", np.zeros((1, 3)), np.zeros((1, 3), dtype=np.uint8))
    assert b"comment unit: mm; camera axes" in (tmp_path / "a.ply").read_bytes()
    write_ply(tmp_path / "b.ply", np.zeros((1, 3)), np.zeros((1, 3), dtype=np.uint8), unit="median")
    assert b"comment unit: median; camera axes" in (tmp_path / "b.ply").read_bytes()


def test_the_header_names_other_axes_than_the_cameras(tmp_path):
    write_ply(tmp_path / "a.ply", np.zeros((1, 3)), np.zeros((1, 3), dtype=np.uint8), "um", axes="axes of the surface")
    assert b"comment unit: um; axes of the surface\n" in (tmp_path / "a.ply").read_bytes()

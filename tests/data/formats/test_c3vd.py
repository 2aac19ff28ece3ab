"""C3VD: 100 mm in 16 bits with two invalid values, poses column by column, and the fisheye as a pinhole."""

import json

import numpy as np
import pytest
import torch

from data.fisheye import OmnidirectionalCamera
from data.formats import C3vdFormat, c3vd
from data.formats.c3vd import COLONOSCOPE, read_flow, read_normals, read_occlusion
from models.geometry.camera import flow_from_depth
from models.geometry.flow_estimators import create_flow_estimator
from util.errors import UserError

TINY = OmnidirectionalCamera((27, 34), 17.0, 13.0, 19.3, -0.0324, 0.00099, -7.7e-5)


def write(save, root, sequence="cecum_t1_a", count=2, size=(27, 34), depth=None):
    depth = np.full(size, 32768) if depth is None else depth
    for number in range(count):
        save(root / sequence / f"{number:04d}_color.png", np.full((*size, 3), 100 + number))
        save(root / sequence / f"{number:04d}_depth.tiff", depth, dtype=np.uint16)


def test_depth_is_100_mm_at_65535_and_both_ends_are_invalid(save, tmp_path):
    write(save, tmp_path, size=(1, 4), count=1, depth=[[0, 65535, 65534, 32768]])
    source = C3vdFormat(tmp_path)
    (item,) = source.items("train")
    assert (item.name, item.sequence) == ("cecum_t1_a_0000_color", "cecum_t1_a")
    np.testing.assert_allclose(source.read_depth_mm(item), [[0, 0, 99.998474, 50.000763]], rtol=1e-6)


def test_transverse_colon_is_for_testing(save, tmp_path):
    for sequence in ("cecum_t1_a", "sigmoid_t3_b", "desc_t4_a", "trans_t1_a", "trans_t2_c"):
        write(save, tmp_path, sequence, count=1)
    assert C3vdFormat(tmp_path).split == {
        "train": ["cecum_t1_a", "sigmoid_t3_b"],
        "eval": ["desc_t4_a"],
        "test": ["trans_t1_a", "trans_t2_c"],
    }


def test_poses_are_written_column_by_column(save, tmp_path):
    write(save, tmp_path)
    quarter = np.array([[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]], float)  # x to y, then away
    lines = [",".join(map(str, pose.T.ravel())) for pose in (np.eye(4), quarter)]
    (tmp_path / "cecum_t1_a" / "pose.txt").write_text("\n".join(lines) + "\n")
    source = C3vdFormat(tmp_path)
    first, second = (source.pose(item) for item in source.items("train"))
    np.testing.assert_array_equal(first, np.eye(4))
    np.testing.assert_array_equal(second, quarter)


def test_pose_file_that_is_too_short_or_no_numbers_is_named(save, tmp_path):
    write(save, tmp_path)
    (tmp_path / "cecum_t1_a" / "pose.txt").write_text(",".join("1" * 16) + "\n")
    source = C3vdFormat(tmp_path)
    with pytest.raises(UserError, match=r"pose\.txt has 1 lines, but there is a frame .*0001_color"):
        source.pose(source.items("train")[1])
    (tmp_path / "cecum_t1_a" / "pose.txt").write_text("1,2,3\n")
    c3vd.read_poses.cache_clear()
    with pytest.raises(UserError, match=r"pose\.txt, line 1: expected 16 finite numbers, got 3"):
        source.pose(source.items("train")[0])


def test_fisheye_has_no_camera_matrix_and_undistorted_it_has(save, tmp_path, monkeypatch):
    monkeypatch.setattr(c3vd, "SIZE", TINY.size)
    monkeypatch.setattr(c3vd, "COLONOSCOPE", TINY)
    depth = np.full(TINY.size, 32768)
    depth[:5] = 65535
    write(save, tmp_path, depth=depth)
    plain, straight = C3vdFormat(tmp_path), C3vdFormat(tmp_path, undistort=True)
    (item, _), size = plain.items("train"), TINY.size
    assert (plain.has_camera(item), straight.has_camera(item)) == (False, True)
    assert straight.camera(item, size).K[0, 0] == TINY.a0
    np.testing.assert_allclose(np.unique(straight.read_depth_mm(item)), [0, 50.000763], rtol=1e-6)
    assert straight.read_frame(item.image).shape == (*size, 3)
    np.testing.assert_allclose(straight.read_frame(item.image)[10:20, 12:22], 100 / 255, rtol=1e-5)


def test_undistorting_needs_the_size_that_was_calibrated(save, tmp_path):
    write(save, tmp_path)
    source = C3vdFormat(tmp_path, undistort=True)
    with pytest.raises(
        UserError, match=r"0000_color\.png is 27x34 pixels, .*1080x1350; --undistort needs the original"
    ):
        source.read_frame(source.items("train")[0].image)


def test_normals_flow_and_occlusion(save, tmp_path):
    half, full = 32767.5, 65535
    normals = save(tmp_path / "n.tiff", np.array([[[full, 0, full], [half, half, 0]]]), dtype=np.uint16)
    np.testing.assert_allclose(read_normals(normals), [[[1, -1, 1], [0, 0, 0]]], atol=2e-5)
    flow = save(tmp_path / "f.tiff", np.array([[[full, 0, 0], [half, 49151.25, 0]]]), dtype=np.uint16)
    np.testing.assert_allclose(read_flow(flow), [[[20, 0]], [[-20, 10]]], atol=5e-4)
    occlusion = save(tmp_path / "o.png", np.array([[0, 255]]))
    assert read_occlusion(occlusion).tolist() == [[False, True]]
    with pytest.raises(UserError, match="expected 16 bits, 3 channels"):
        read_flow(occlusion)


@pytest.fixture
def real(shared_data, tmp_path):
    """The real frames in the published layout, their poses written as the data set writes them."""
    folder = tmp_path / "trans_t1_a"
    folder.mkdir()
    source = shared_data / "c3vd_trans_t1_a"
    for file in [*source.glob("*_color.png"), *source.glob("*_depth.tiff")]:
        (folder / file.name).symlink_to(file)
    poses = json.loads((source / "poses.json").read_text())
    return tmp_path, poses


def test_real_depth_poses_and_undistorted_camera_predict_the_motion_of_the_picture(real):
    """Three frames apart, against optical flow. The fisheye's frames, taken for a pinhole's, fit far worse."""
    straight, bent = (share_unexplained(*real, undistort=undistort) for undistort in (True, False))
    assert straight < 0.2
    assert bent > 2 * straight


def share_unexplained(root, poses, undistort):
    """Median distance of the motion that depth and poses predict from the flow that is seen, as share of the motion."""
    source = C3vdFormat(root, undistort=undistort)
    first, *_, last = source.items("test")
    world = [torch.from_numpy(pose_of(poses, item)) for item in (first, last)]
    images = [torch.from_numpy(source.read_frame(item.image)).permute(2, 0, 1)[None] for item in (first, last)]
    depth = torch.from_numpy(source.read_depth_mm(last))[None, None].double()
    K = torch.from_numpy(COLONOSCOPE.pinhole().K)[None]
    expected = flow_from_depth(depth, K, (torch.linalg.inv(world[0]) @ world[1])[None])
    seen = create_flow_estimator("dis")(images[1], images[0])
    valid = (depth > 0)[0, 0]
    distance, motion = (torch.linalg.norm(flow, dim=1)[0][valid].median() for flow in (expected - seen, expected))
    assert motion > 20
    return (distance / motion).item()


def pose_of(poses, item):
    """The pose of a frame in poses.json, camera to world [mm]."""
    return np.array(poses["poses"][item.image.stem.split("_")[0]], dtype=np.float64)

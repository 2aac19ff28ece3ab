"""A table for any set: paths, order, cameras and poses, and a line number for every mistake."""

import numpy as np
import pytest

from data.formats import ManifestFormat
from util.errors import UserError


@pytest.fixture
def write(save, tmp_path):
    def write(text):
        for name in ("a", "b", "c"):
            save(tmp_path / "frames" / f"{name}.png", np.full((2, 3, 3), 8))
            save(tmp_path / "depth" / f"{name}.png", np.full((2, 3), 51))
        (tmp_path / "manifest.csv").write_text(text)
        return ManifestFormat(tmp_path)

    return write


def test_frames_of_a_sequence_stand_in_the_order_of_their_times(write):
    source = write(
        "image,depth,split,sequence,time\n"
        "frames/a.png,depth/a.png,test,s,10\n"
        "frames/b.png,depth/b.png,test,s,9.5\n"
        "frames/c.png,depth/c.png,,,\n"
    )
    assert source.phases() == ["test", "train"]
    assert [item.name for item in source.items("test")] == ["frames_b", "frames_a"]
    assert [item.sequence for item in source.items("train")] == [""]
    np.testing.assert_allclose(source.read_depth_mm(source.items("train")[0]), 40, rtol=1e-6)


def test_camera_and_pose_of_a_line(write):
    source = write(
        "image,depth,fx,fy,cx,cy,tx,ty,tz,qx,qy,qz,qw\n"
        "frames/a.png,depth/a.png,100,110,1,0.5,1,2,3,0,0,0.70710678,0.70710678\n"
        "frames/b.png,depth/b.png,,,,,,,,,,,\n"
    )
    first, second = source.items("train")
    camera = source.camera(first, (2, 3))
    np.testing.assert_array_equal(camera.K, [[100, 0, 1], [0, 110, 0.5], [0, 0, 1]])
    np.testing.assert_allclose(source.pose(first), [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], atol=1e-7)
    assert source.camera(second, (2, 3)) is None
    assert source.pose(second) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image\nframes/a.png\n", r"manifest\.csv lacks the columns depth; known are image, depth"),
        ("image,depth,fov\n", r"has the columns fov; known are"),
        ("image,depth\nframes/a.png,\n", r"manifest\.csv, line 2: image or depth is empty"),
        ("image,depth\nframes/a.png,depth/a.png,7\n", r"line 2: more cells than columns"),
        ("image,depth,time\nframes/a.png,depth/a.png,x\n", r"line 2 .*time must be a number, got 'x'"),
    ],
)
def test_mistakes_in_the_table_are_named(write, text, words):
    source = write(text)
    with pytest.raises(UserError, match=words):
        source.items("train")


def test_half_a_camera_is_a_mistake(write):
    source = write("image,depth,fx,fy,cx,cy\nframes/a.png,depth/a.png,1,,2,3\n")
    with pytest.raises(UserError, match=r"manifest\.csv, line 2: fx, fy, cx, cy must be numbers"):
        source.camera(source.items("train")[0], (2, 3))


def test_without_a_table_its_columns_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no table .*manifest\.csv; its columns are image, depth, split"):
        ManifestFormat(tmp_path).phases()

"""Hamlyn: millimetres in 16 bits, matrices of two shapes."""

import numpy as np
import pytest

from data.formats import HamlynFormat
from util.errors import UserError


def write(save, root, name="rectified01", image="image01", depth="depth01", camera="1 0 2\n0 3 4\n0 0 1\n"):
    save(root / name / image / "0000000001.jpg", np.full((3, 4, 3), 90))
    save(root / name / depth / "0000000001.png", [[0, 1, 300, 65535]] * 3, dtype=np.uint16)
    (root / name / "intrinsics.txt").write_text(camera)


@pytest.mark.parametrize(("image", "depth"), [("image01", "depth01"), ("color", "depth")])
@pytest.mark.parametrize("camera", ["1 0 2\n0 3 4\n0 0 1\n", "1 0 2 0\n0 3 4 0\n0 0 1 0\n"])
def test_depth_is_in_mm_and_the_camera_beside_it(save, tmp_path, image, depth, camera):
    write(save, tmp_path, image=image, depth=depth, camera=camera)
    source = HamlynFormat(tmp_path)
    assert source.phases() == ["test"]
    (item,) = source.items("test")
    assert (item.sequence, item.name) == ("rectified01", "rectified01_0000000001")
    np.testing.assert_array_equal(source.read_depth_mm(item)[0], [0, 1, 300, 65535])
    found = source.camera(item, (3, 4))
    np.testing.assert_array_equal(found.K, [[1, 0, 2], [0, 3, 4], [0, 0, 1]])
    assert found.size == (3, 4)


def test_folder_within_a_folder_of_its_name_as_archives_unpack(save, tmp_path):
    write(save, tmp_path / "rectified08", name="rectified08")
    assert list(HamlynFormat(tmp_path).sequences) == ["rectified08"]


def test_missing_depth_and_other_folders_are_named(save, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folders like rectified01/image01"):
        HamlynFormat(tmp_path).phases()
    save(tmp_path / "rectified01" / "image01" / "1.jpg", np.zeros((3, 4, 3)))
    with pytest.raises(UserError, match=r"image01 has frames, but there is no folder .*depth01"):
        HamlynFormat(tmp_path).phases()

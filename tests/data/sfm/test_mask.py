"""The mask of a clip in the published layout: which file counts, and which cannot be used."""

import numpy as np
import pytest

from data.sfm.clip import INSIDE
from data.sfm.published import read_published
from tests.data.sfm.sfm_files import MASK, SIZE, save, write_frames, write_published_files
from util.errors import UserError


@pytest.fixture
def folder(tmp_path):
    return write_published_files(tmp_path / "clip")


def test_mask_of_three_equal_channels_is_grey(folder):
    save(folder / "undistorted_mask.bmp", np.repeat(MASK[..., None], 3, axis=2))
    np.testing.assert_array_equal(read_published(folder).mask, MASK)


def test_without_the_bitmap_mask_png_counts_and_without_both_everything_is_inside(folder):
    (folder / "undistorted_mask.bmp").unlink()
    assert (read_published(folder).mask == INSIDE).all()
    assert read_published(folder).camera.size == SIZE
    save(folder / "mask.png", MASK[::-1] // 2 + MASK // 2 + 1)
    np.testing.assert_array_equal(read_published(folder).mask, MASK[::-1] // 2 + MASK // 2 + 1)


def test_without_a_mask_and_a_frame_the_size_is_not_known(tmp_path):
    folder = write_published_files(tmp_path / "clip", frames=[])
    assert read_published(folder).frames == (None,) * 4  # the mask has the size
    (folder / "undistorted_mask.bmp").unlink()
    with pytest.raises(UserError, match="no frame and no mask"):
        read_published(folder)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MASK[:-1], r"00000002\.jpg 28x20, undistorted_mask\.bmp 28x19 pixels"),
        (MASK // 2, "no pixel of 255"),
        (np.dstack([MASK, MASK, MASK[::-1] // 2]), "a mask is grey"),
    ],
    ids=["size", "nothing inside", "coloured"],
)
def test_a_mask_that_cannot_be_used_is_named(folder, mask, message):
    save(folder / "undistorted_mask.bmp", mask)
    with pytest.raises(UserError, match=message):
        read_published(folder)


def test_frames_of_another_size_than_the_mask_are_named_with_both_sizes(folder):
    write_frames(folder, ["00000002.jpg"], size=(10, 14))
    with pytest.raises(UserError, match=r"00000002\.jpg 14x10, undistorted_mask\.bmp 28x20"):
        read_published(folder)

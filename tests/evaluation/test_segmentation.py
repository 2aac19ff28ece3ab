"""Label pictures: colours that move, and what is wrong with a folder of them."""

import numpy as np
import pytest

from evaluation.segmentation import DynamicMasks
from tests.tiny_run import write_png
from util.errors import UserError

LABELS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 0, 1], [10, 20, 30], [30, 20, 10]]], np.uint8)
MOVES = "255 0 0\n10 20 30\n"


@pytest.fixture
def folder(tmp_path):
    write_png(tmp_path / "clip" / "0001.png", LABELS)
    (tmp_path / "dynamic_colors.txt").write_text(MOVES)
    return tmp_path


def test_pixels_of_listed_colours_move_channel_by_channel(folder):
    mask = DynamicMasks(folder).dynamic("clip/0001", (2, 3))
    assert mask.tolist() == [[True, False, False], [False, True, False]]


def test_a_frame_that_is_called_by_its_file_is_found_by_its_stem(folder):
    write_png(folder / "a.png", LABELS)
    assert DynamicMasks(folder).dynamic("a.bmp", (2, 3)).sum() == 2


def test_a_missing_picture_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"the frame clip/0002 has no label picture .*clip/0002\.png"):
        DynamicMasks(folder).dynamic("clip/0002", (2, 3))


def test_a_picture_of_another_size_is_named_with_both_sizes(folder):
    with pytest.raises(UserError, match=r"0001\.png is 2x3 pixels, but the truth of clip/0001 4x6"):
        DynamicMasks(folder).dynamic("clip/0001", (4, 6))


@pytest.mark.parametrize("pixels", [LABELS[..., 0], LABELS.astype(np.uint16)])
def test_a_picture_without_colours_is_refused(folder, pixels):
    write_png(folder / "clip" / "0001.png", pixels)
    with pytest.raises(UserError, match=r"0001\.png is no RGB picture of 8 bits"):
        DynamicMasks(folder).dynamic("clip/0001", (2, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("255 0\n", r"dynamic_colors\.txt, line 1: expected 3 finite numbers, got 2"),
        ("255 0 0\nred\n", r"dynamic_colors\.txt holds something that is no number"),
        ("255 0 256\n", "whole numbers from 0 to 255"),
        ("255 0 0.5\n", "whole numbers from 0 to 255"),
        ("", r"dynamic_colors\.txt is empty"),
    ],
)
def test_a_malformed_list_of_colours_is_an_error_that_names_it(folder, text, message):
    (folder / "dynamic_colors.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        DynamicMasks(folder)


def test_a_missing_list_of_colours_says_what_belongs_into_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*dynamic_colors\.txt: it needs a row R G B"):
        DynamicMasks(tmp_path)

"""Pseudo-depth on disk: depth and inverse depth, where it is looked for, and what is wrong with it."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.clips import Clip
from data.pseudo_depth import PseudoDepth, frame_stem, write_pseudo_depth, write_pseudo_depth_json
from util.errors import UserError

SIZE = (3, 4)


@pytest.fixture
def clip(tmp_path):
    return Clip("c", tuple(tmp_path / "video" / "c" / f"{n:03d}.jpg" for n in range(2)))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pseudo").mkdir()
    return tmp_path / "pseudo"


def test_depth_comes_back_as_a_share_of_the_largest_and_unknown_as_0(clip, folder):
    depth = np.array([[5.0, 10, 0, 20], [np.nan, 40, 1, 2], [3, -4, np.inf, 7]])
    write_pseudo_depth(folder / "c" / "000.png", depth)
    known = np.isfinite(depth) & (depth > 0)
    read = PseudoDepth(folder).read(clip, 0)
    np.testing.assert_allclose(read, np.where(known, depth / 40, 0), atol=1 / 65535)
    assert (read[~known] == 0).all()


def test_inverse_depth_becomes_depth_and_what_is_very_far_stays_finite(clip, folder, save):
    save(folder / "c" / "000.png", np.array([[50000, 25000, 12500, 0], [10, 49, 50, 500], [1, 2, 3, 4]]), np.uint16)
    read = PseudoDepth(folder, "inverse").read(clip, 0)
    np.testing.assert_allclose(read[0, :3] / read[0, 0], [1, 2, 4], rtol=1e-6)
    assert read[0, 3] == 0
    np.testing.assert_allclose(read[1] / read[0, 0], [1000, 1000, 1000, 100], rtol=1e-6)
    assert (np.diff(read[2]) == 0).all()


def test_json_says_which_of_the_two_it_is_and_the_option_wins(folder):
    assert PseudoDepth(folder).kind == "depth"
    write_pseudo_depth_json(folder, checkpoint="latest.pth")
    assert PseudoDepth(folder).kind == "depth"
    (folder / "pseudo_depth.json").write_text(json.dumps({"kind": "inverse"}))
    assert PseudoDepth(folder).kind == "inverse"
    assert PseudoDepth(folder, "depth").kind == "depth"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"kind": "disparity"}'])
def test_a_json_that_says_something_else_is_an_error(folder, text):
    (folder / "pseudo_depth.json").write_text(text)
    with pytest.raises(UserError, match=r"pseudo_depth\.json .*--pseudo_depth_kind"):
        PseudoDepth(folder)


def test_arrays_and_pictures_of_8_and_16_bits_are_read(clip, folder, save):
    save(folder / "c" / "000.png", np.full(SIZE, 200))
    (folder / "c" / "001.npy").parent.mkdir(exist_ok=True)
    np.save(folder / "c" / "001.npy", np.linspace(1, 4, 12, dtype=np.float32).reshape(SIZE))
    reader = PseudoDepth(folder)
    assert (reader.read(clip, 0) == 1).all()
    np.testing.assert_allclose(reader.read(clip, 1).reshape(-1), np.linspace(0.25, 1, 12), rtol=1e-6)


def test_a_folder_in_each_clip_is_found_by_its_name(clip, save):
    file = save(clip.place / "leres_depth" / "000.png", np.full(SIZE, 9))
    assert PseudoDepth(Path("leres_depth")).file(clip, 0) == file


def test_frames_of_a_file_with_two_have_their_own(tmp_path):
    both = Clip("pair", (tmp_path / "pair.png",), side_by_side=True)
    assert [frame_stem(both, index) for index in (0, 1)] == ["pair_0", "pair_1"]


def test_missing_pseudo_depth_is_an_error_that_says_how_to_make_it(clip, folder):
    write_pseudo_depth(folder / "c" / "000.png", np.ones(SIZE))
    with pytest.raises(FileNotFoundError, match=r"1 frames have no pseudo-depth, e\.g\. .*001\.png.*data.pseudo_depth"):
        PseudoDepth(folder).require([clip], clip.place.parent)


def test_pseudo_depth_that_says_nothing_is_an_error_that_names_the_file(clip, folder, save):
    save(folder / "c" / "000.png", np.zeros(SIZE), np.uint16)
    with pytest.raises(UserError, match=r"000\.png is 0 everywhere"):
        PseudoDepth(folder).read(clip, 0)
    save(folder / "c" / "001.png", np.random.default_rng(0).integers(0, 255, (*SIZE, 3)))
    with pytest.raises(UserError, match=r"001\.png is a colour picture"):
        PseudoDepth(folder).read(clip, 1)

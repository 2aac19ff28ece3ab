"""Depth files: each encoding exactly, and what cannot be known is an error that says what to do."""

import json

import cv2
import numpy as np
import pytest

from data.depth_files import (
    ENCODINGS,
    MM_PER_UNIT,
    DepthEncoding,
    find_encoding,
    read_depth_mm,
    read_encoding,
    write_depth,
    write_depth_json,
    write_relative_depth_json,
)
from util.errors import UserError

ALL_16_BITS = np.arange(65536, dtype=np.uint16).reshape(128, 512)


def describe(folder, **fields):
    (folder / "depth.json").write_text(json.dumps(fields))


@pytest.mark.parametrize(
    ("name", "dtype", "full_scale"),
    [("ucl8", np.uint8, 255), ("ucl16", np.uint16, 65535), ("simcol3d", np.uint16, 65280)],
)
def test_full_scale_of_each_encoding_is_exactly_200_mm(tmp_path, save, name, dtype, full_scale):
    path = save(tmp_path / "a.png", [[0, full_scale // 5, full_scale]], dtype)
    depth_mm = read_depth_mm(path, name)
    assert depth_mm.dtype == np.float32
    assert depth_mm.tolist() == [[0.0, 40.0, 200.0]]
    assert ENCODINGS[name].bits == np.iinfo(dtype).bits


def test_8_bits_without_a_word_are_ucls(tmp_path, save):
    assert read_depth_mm(save(tmp_path / "a.png", [[255, 51, 0]])).tolist() == [[200.0, 40.0, 0.0]]


def test_16_bits_without_a_word_are_an_error_that_offers_what_fits(tmp_path, save):
    path = save(tmp_path / "a.png", [[65280, 0]], np.uint16)
    with pytest.raises(UserError, match=r"a\.png has 16 bits.*--depth_format ucl16 or simcol3d.*depth\.json"):
        read_depth_mm(path)


@pytest.mark.parametrize(("name", "dtype"), [("ucl8", np.uint16), ("ucl16", np.uint8), ("simcol3d", np.uint8)])
def test_the_wrong_width_is_an_error(tmp_path, save, name, dtype):
    path = save(tmp_path / "a.png", [[9, 1]], dtype)
    with pytest.raises(UserError, match=rf"a\.png has \d+ bits, but {name} files have {ENCODINGS[name].bits}"):
        read_depth_mm(path, name)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_all_65536_values_are_read_without_loss(tmp_path, save, suffix):
    describe(tmp_path, mm_per_unit=MM_PER_UNIT)
    depth_mm = read_depth_mm(save(tmp_path / f"a{suffix}", ALL_16_BITS, np.uint16))
    np.testing.assert_array_equal(depth_mm, ALL_16_BITS / np.float32(256))


def test_marks_of_a_depth_json_are_invalid_and_nothing_else(tmp_path, save):
    describe(tmp_path, mm_per_unit=0.5, invalid=3, invalid_max=2, saturated=200)
    depth_mm = read_depth_mm(save(tmp_path / "a.png", [[0, 1, 2, 3, 4, 199, 200, 201]]))
    assert depth_mm.tolist() == [[0, 0, 0, 0, 2.0, 99.5, 0, 100.5]]


def test_a_depth_json_beside_the_file_wins_over_the_guess_and_a_named_one_over_both(tmp_path, save):
    path = save(tmp_path / "a.png", [[100]])
    describe(tmp_path, mm_per_unit=0.25)
    assert read_depth_mm(path).item() == 25.0
    (tmp_path / "other.json").write_text('{"mm_per_unit": 2}')
    assert read_depth_mm(path, str(tmp_path / "other.json")).item() == 200.0


def test_relative_depth_is_marked(tmp_path, save):
    path = save(tmp_path / "a.png", [[100]])
    assert find_encoding(path, "auto", bits=8).relative is False
    describe(tmp_path, mm_per_unit=1, relative=True)
    assert find_encoding(path, "auto", bits=8).relative is True


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "{}", '{"mm_per_unit": "wide"}', '{"mm_per_unit": 1, "saturated": "all"}', '{"mm_per_unit": 0}'],
)
def test_a_depth_json_that_says_nothing_usable_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "depth.json").write_text(text)
    with pytest.raises(UserError, match=r"depth\.json.*mm_per_unit"):
        read_encoding(tmp_path / "depth.json")


@pytest.mark.parametrize("scale", ["-0.5", "NaN", "Infinity"])
def test_a_unit_must_be_a_positive_number(tmp_path, scale):
    (tmp_path / "depth.json").write_text(f'{{"mm_per_unit": {scale}}}')
    with pytest.raises(UserError, match="must be a positive number"):
        read_encoding(tmp_path / "depth.json")


def test_an_unknown_format_is_an_error_that_lists_the_known_ones(tmp_path, save):
    with pytest.raises(UserError, match=r"ucl9.*auto, ucl8, ucl16, simcol3d"):
        read_depth_mm(save(tmp_path / "a.png", [[1]]), "ucl9")


def test_equal_channels_and_alpha_are_read_as_one(tmp_path, save):
    grey = np.repeat(np.array([[[10], [255]]]), 3, axis=2)
    with_alpha = np.dstack([grey, [[7, 8]]])
    for name, pixels in (("three.png", grey), ("four.png", with_alpha)):
        np.testing.assert_array_equal(read_depth_mm(save(tmp_path / name, pixels)), np.float32([[10 * 200 / 255, 200]]))


def test_a_colour_picture_is_no_depth_map(tmp_path, save):
    path = save(tmp_path / "a.png", [[[10, 10, 10], [10, 11, 10]]])
    with pytest.raises(UserError, match=r"a\.png is a colour picture"):
        read_depth_mm(path)


def test_floating_point_pictures_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tiff"), np.ones((4, 5), np.float32))
    with pytest.raises(UserError, match=r"a\.tiff holds float32 pixels"):
        read_depth_mm(tmp_path / "a.tiff")


@pytest.mark.parametrize("name", ["a.npy", "a.NPY"])
def test_npy_is_in_mm_and_what_is_no_depth_becomes_0(tmp_path, name):
    stored = np.array([[1.25, np.nan, np.inf], [-1.0, 0.0, 300.5]], np.float32)
    with (tmp_path / name).open("wb") as file:
        np.save(file, stored[None])
    depth_mm = read_depth_mm(tmp_path / name)
    assert depth_mm.dtype == np.float32
    assert depth_mm.tolist() == [[1.25, 0, 0], [0, 0, 300.5]]


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "integers", "volume", "archive"])
def test_an_npy_that_is_no_depth_map_is_an_error_that_names_it(tmp_path, kind):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((6, 7), np.int32 if kind == "integers" else np.float32))
    if kind == "volume":
        np.save(path, np.ones((2, 6, 7), np.float32))
    elif kind == "archive":
        np.savez(tmp_path / "b.npz", a=np.ones(3))
        path.write_bytes((tmp_path / "b.npz").read_bytes())
    elif kind in ("empty", "text", "cut"):
        path.write_bytes({"empty": b"", "text": b"hello", "cut": path.read_bytes()[:-9]}[kind])
    with pytest.raises(UserError, match=r"a\.npy"):
        read_depth_mm(path)


@pytest.mark.parametrize("mm_per_unit", [MM_PER_UNIT, 200 / 65535])
def test_depth_comes_back_to_half_a_unit(tmp_path, mm_per_unit):
    depth_mm = np.random.default_rng(0).uniform(mm_per_unit, 199.9, (17, 23)).astype(np.float32)
    write_depth(tmp_path / "a.png", depth_mm, mm_per_unit)
    write_depth_json(tmp_path, mm_per_unit, method="ours")
    # 1e-5 mm: float32 has that at 200 mm
    np.testing.assert_allclose(read_depth_mm(tmp_path / "a.png"), depth_mm, rtol=0, atol=mm_per_unit / 2 + 1e-5)
    assert json.loads((tmp_path / "depth.json").read_text())["method"] == "ours"


def test_what_the_file_cannot_hold_is_written_as_invalid(tmp_path):
    depth_mm = np.array([[np.nan, np.inf, -np.inf, -1.0, 0.0, 256.0, 300.0, 255.99609375, 0.001, 1.0]])
    write_depth(tmp_path / "a.png", depth_mm)
    write_depth_json(tmp_path)
    assert read_depth_mm(tmp_path / "a.png").tolist() == [[0, 0, 0, 0, 0, 0, 0, 255.99609375, 0, 1.0]]


def test_simcol3d_samples_decode_to_their_documented_range(shared_data):
    depths = [read_depth_mm(path) for path in sorted((shared_data / "simcol3d").glob("Depth_*.png"))]
    assert len(depths) == 6
    assert 6.0 <= min(depth.min() for depth in depths) < 7.0
    assert 132.0 < max(depth.max() for depth in depths) <= 133.5
    by_name = read_depth_mm(shared_data / "simcol3d" / "Depth_0000.png", "simcol3d")
    np.testing.assert_allclose(by_name, depths[0], rtol=1e-6)


def test_c3vd_samples_have_their_documented_share_of_invalid_and_saturated_pixels(shared_data):
    depths = np.stack([read_depth_mm(path) for path in sorted((shared_data / "c3vd_trans_t1_a").glob("*_depth.tiff"))])
    assert depths.shape == (4, 1080, 1350)
    assert depths.max() < 100
    assert np.mean(depths == 0) == pytest.approx(0.09, abs=0.01)
    assert np.median(depths[depths > 0]) == pytest.approx(18.5, abs=1.0)


def test_depth_without_a_scale_reads_back_as_relative_in_its_own_unit(tmp_path):
    depth = np.array([[0.5, 1.0, 15.9]], np.float32)
    write_depth(tmp_path / "a.png", depth, 1 / 4096)
    write_relative_depth_json(tmp_path, 1 / 4096, "median of the first frame", alignment="none")
    assert find_encoding(tmp_path / "a.png", "auto", bits=16) == DepthEncoding(1 / 4096, relative=True)
    np.testing.assert_allclose(read_depth_mm(tmp_path / "a.png"), depth, atol=0.51 / 4096)
    fields = json.loads((tmp_path / "depth.json").read_text())
    assert "mm_per_unit" not in fields
    assert (fields["unit"], fields["alignment"]) == ("median of the first frame", "none")


def test_a_factor_without_the_word_relative_is_no_unit(tmp_path):
    describe(tmp_path, factor=0.5)
    with pytest.raises(UserError, match="needs a number mm_per_unit"):
        read_encoding(tmp_path / "depth.json")

"""Picture files: every kind of frame is read exactly, and damage is an error and never a grey picture."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from data.image_files import image_size, list_images, read_picture, read_rgb, write_picture
from util.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (13, 22, 3), dtype=np.uint8)


def encoded(suffix, pixels=RGB):
    done, content = cv2.imencode(suffix, pixels[..., ::-1])
    assert done
    return content.tobytes()


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_rgb_is_read_in_rgb_order_from_0_to_1(tmp_path, save):
    rgb = read_rgb(save(tmp_path / "a.png", RGB))
    assert rgb.dtype == np.float32
    np.testing.assert_array_equal(rgb, RGB.astype(np.float32) / 255)


def test_16_bit_rgba_of_8_bit_colour_times_256_is_read_exactly(tmp_path, save):
    stored = np.dstack([RGB.astype(np.uint16) * 256, np.full(RGB.shape[:2], 65280, np.uint16)])
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "a.png", stored, np.uint16)), RGB.astype(np.float32) / 255)


def test_full_range_16_bit_colour_loses_less_than_a_grey_level(tmp_path, save):
    stored = np.random.default_rng(1).integers(0, 65536, (7, 9, 3))
    rgb = read_rgb(save(tmp_path / "a.png", stored, np.uint16))
    np.testing.assert_allclose(rgb, stored / 65535, atol=1 / 255)
    assert rgb.max() <= 1


def test_grey_becomes_three_equal_channels(tmp_path, save):
    rgb = read_rgb(save(tmp_path / "a.png", RGB[..., 0]))
    np.testing.assert_array_equal(rgb, np.repeat(RGB[..., :1], 3, axis=2).astype(np.float32) / 255)


def test_alpha_is_dropped_and_not_blended(tmp_path, save):
    transparent = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "a.png", transparent)), RGB.astype(np.float32) / 255)


def test_floating_point_pixels_are_no_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tiff"), np.ones((4, 5), np.float32))
    with pytest.raises(UserError, match=r"a\.tiff holds float32"):
        read_rgb(tmp_path / "a.tiff")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path, suffix, share):
    content = encoded(suffix)
    (tmp_path / f"cut{suffix}").write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=rf"cut\{suffix}"):
        read_rgb(tmp_path / f"cut{suffix}")


@pytest.mark.parametrize("lacking", range(1, 17))
def test_a_png_that_lacks_its_last_bytes_is_an_error(tmp_path, lacking):
    (tmp_path / "cut.png").write_bytes(encoded(".png")[:-lacking])
    with pytest.raises(UserError, match=r"cut\.png"):
        read_rgb(tmp_path / "cut.png")


def test_a_flipped_byte_inside_a_png_is_an_error(tmp_path):
    content = bytearray(encoded(".png"))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "flipped.png").write_bytes(content)
    with pytest.raises(UserError, match=r"flipped\.png"):
        read_rgb(tmp_path / "flipped.png")


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_png_whose_pixels_end_early_is_an_error_although_its_checksums_are_right(tmp_path, kept):
    content = encoded(".png")
    start = content.index(b"IDAT") - 4
    length = struct.unpack(">I", content[start : start + 4])[0]
    pixels = content[start + 8 : start + 8 + int(kept * length)]
    (tmp_path / "early.png").write_bytes(content[:start] + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b""))
    with pytest.raises(UserError, match=r"early\.png"):
        read_rgb(tmp_path / "early.png")


def test_a_header_that_states_a_monstrous_size_is_an_error(tmp_path):
    content = encoded(".png")
    header = png_chunk(b"IHDR", struct.pack(">II", 2**24, 2**24) + content[24:29])
    (tmp_path / "huge.png").write_bytes(content[:8] + header + content[33:])
    with pytest.raises(UserError, match=r"huge\.png"):
        read_rgb(tmp_path / "huge.png")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", bytes(500)])
def test_what_is_no_picture_is_an_error(tmp_path, content):
    (tmp_path / "page.png").write_bytes(content)
    with pytest.raises(UserError, match=rf"page\.png cannot be read as a picture \({len(content)} bytes\)"):
        read_picture(tmp_path / "page.png")


def test_bytes_behind_the_end_mark_do_no_harm(tmp_path):
    (tmp_path / "camera.jpg").write_bytes(encoded(".jpg") + bytes(100))
    assert read_rgb(tmp_path / "camera.jpg").shape == (13, 22, 3)


def test_a_missing_file_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_rgb(tmp_path / "nothing.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_pictures_are_written_without_loss(tmp_path, dtype):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype).reshape(-1, 64)
    write_picture(tmp_path / "new" / "a.png", values)
    read = read_picture(tmp_path / "new" / "a.png")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, values)


def test_colour_pictures_are_written_in_rgb_order(tmp_path):
    write_picture(tmp_path / "a.png", RGB)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), RGB.astype(np.float32) / 255)
    assert image_size(tmp_path / "a.png") == (13, 22)


def test_a_format_that_opencv_does_not_write_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="png"):
        write_picture(tmp_path / "a.xyz", RGB)
    assert list(tmp_path.iterdir()) == []


def test_names_are_in_the_order_in_which_people_count(tmp_path):
    for name in ("frame_10.png", "frame_2.PNG", "frame_1.jpg", "b.png", ".frame_0.png", "notes.txt", "frame_2b.png"):
        (tmp_path / name).touch()
    names = [path.name for path in list_images(tmp_path)]
    assert names == ["b.png", "frame_1.jpg", "frame_2.PNG", "frame_2b.png", "frame_10.png"]


def test_numbers_of_one_width_keep_the_order_of_their_names(tmp_path):
    names = [f"T{t}_L1_FrameBuffer_{n:04d}.png" for t in (1, 2) for n in (0, 3, 12, 1000)]
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == sorted(names)


def test_tags_that_nobody_reads_cause_no_warnings(shared_data, capfd):
    read_picture(shared_data / "c3vd_trans_t1_a" / "0001_depth.tiff")
    assert capfd.readouterr().err == ""

"""The files of a COLMAP model: each damage of its text and binary files is said with its place."""

import re
import struct

import pytest

from data.sfm.colmap import read_colmap
from tests.data.sfm.sfm_files import (
    CX,
    CY,
    FX,
    FY,
    colmap_contents,
    edit,
    write_colmap_binary,
    write_colmap_text,
)
from util.errors import UserError

WRITERS = {"text": write_colmap_text, "binary": write_colmap_binary}
CENTRE = (CX + 0.5, CY + 0.5)  # in COLMAP's pixels


@pytest.fixture
def text(tmp_path):
    """A clip with a model as text in it."""
    return write_colmap_text(tmp_path / "clip")


@pytest.fixture
def binary(tmp_path):
    return write_colmap_binary(tmp_path / "clip")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_a_missing_file_is_named(tmp_path, kind, name):
    folder = WRITERS[kind](tmp_path / "clip")
    file = next(folder.glob(f"{name}.*"))
    file.unlink()
    with pytest.raises(UserError, match=f"lacks {file.name}; a COLMAP model has cameras, images, points3D"):
        read_colmap(folder)


POINT, FIRST = "11 0.1 0.2 3.0 1 2 3 ", "4 1.0 -0.0 -0.0 -0.0 "  # lines in points3D.txt and images.txt begin so
WRONG = {  # in a file: what stands there, what is put in its place, and what is said
    "cameras.txt": [
        ("1 PINHOLE 28 20", "1 PINHOLE 28", r"line 2: expected an integer, got '31\.25'"),
        ("1 PINHOLE 28 20", "1 PINHOLE wide 20", r"line 2: expected an integer, got 'wide'"),
        (f"{FX} ", "", r"line 2: PINHOLE has 4 parameters, got 3"),
        (f"{FX} ", "nan ", r"line 2: no camera has .*nan"),
        (f"{FX} ", "-1 ", r"line 2: no camera has .*-1"),
        ("28 20", "28 0", r"line 2: no camera has .* at 28x0 pixels"),
        ("1 PINHOLE", "1 EUCM", r"line 2: the camera \(EUCM\) bends lines"),
        ("1 PINHOLE", "8 PINHOLE", r"images\.txt, line 9: frame_002\.png has camera 1, which cameras does not have"),
        ("1 PINHOLE 28 20", "1 PINHOLE #", r"line 2: expected an integer"),
    ],
    "images.txt": [
        (FIRST, "4 1.0 -0.0 -0.0 x ", r"line 9: expected a number, got 'x'"),
        (FIRST, "4 0 0 0 0 ", r"line 9: frame_002\.png has no pose"),
        (FIRST, "4 nan -0.0 -0.0 -0.0 ", r"line 9: frame_002\.png has no pose"),
        (FIRST, "4.5 1.0 -0.0 -0.0 -0.0 ", r"line 9: expected an integer, got '4\.5'"),
        (FIRST, "6 1.0 -0.0 -0.0 -0.0 ", r"line 9: there is a second record of id 6, first in .*images\.txt, line 3"),
        (" frame_002.png", " frame_012.png", r"line 9: there is a second image called frame_012\.png"),
        (" frame_002.png", "", r"line 9: expected IMAGE_ID QW .* NAME, got '4 1\.0"),
        (" frame_012.png\n\n", " frame_012.png\n", r"line 4: expected the 2D points of frame_012\.png"),
        (" frame_012.png\n\n", " my frame 12.png\n", r"line 4: expected the 2D points of my frame 12\.png"),
        ("images: 4", "images: 5", r"images\.txt has 4 records, but its comment promises 5"),
    ],
    "points3D.txt": [
        (POINT, "11 0.1 x 3.0 1 2 3 ", r"line 5: expected a number, got 'x'"),
        (POINT, "11 0.1 3.0 1 2 3 ", r"line 5: expected POINT3D_ID X Y Z .*, got '11 0\.1 3\.0"),
        (POINT, "7 0.1 0.2 3.0 1 2 3 ", r"line 5: there is a second record of id 7, first in .*points3D\.txt, line 3"),
        (POINT + "0.7 9 0", POINT + "0.7 10 0", r"line 5: the point was seen in image 10, which images does not have"),
        (POINT + "0.7 9 0", POINT + "0.7 a 0", r"line 5: expected an integer, got 'a'"),
        ("points: 5", "points: 500", r"points3D\.txt has 5 records, but its comment promises 500"),
    ],
}


@pytest.mark.parametrize(
    ("name", "old", "new", "message"), [(name, *wrong) for name, wrongs in WRONG.items() for wrong in wrongs]
)
def test_what_is_wrong_in_a_text_is_said_with_its_line(text, name, old, new, message):
    edit(text / name, old, new)
    with pytest.raises(UserError, match=message) as caught:
        read_colmap(text)
    assert name in str(caught.value) or message.startswith("images")


@pytest.mark.parametrize("name", ["cameras.txt", "images.txt", "points3D.txt"])
def test_a_text_that_is_none_is_named(text, name):
    (text / name).write_bytes(b"\xff\xfe" * 40)
    with pytest.raises(UserError, match=rf"{re.escape(name)} is no text"):
        read_colmap(text)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_binary_file_cut_anywhere_is_named_with_what_was_read(binary, name):
    content = (binary / name).read_bytes()
    what = name.split(".")[0].removesuffix("3D")
    for length in (*range(9), *range(9, len(content), 11), len(content) - 1):
        (binary / name).write_bytes(content[:length])
        expected = f"the number of {what}" if length < 8 else rf"{what} \d of \d"
        with pytest.raises(
            UserError, match=rf"{re.escape(name)} is truncated: it ends after {length} bytes, in .*{expected}"
        ):
            read_colmap(binary)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_binary_file_with_more_than_it_promises_is_refused(binary, name):
    (binary / name).write_bytes((binary / name).read_bytes() + b"\0")
    with pytest.raises(UserError, match=rf"{re.escape(name)} goes on behind its \d"):
        read_colmap(binary)


@pytest.mark.parametrize("count", [2**40, 2**63])
def test_a_damaged_length_of_a_track_is_no_lack_of_memory(binary, count):
    content = bytearray((binary / "points3D.bin").read_bytes())
    struct.pack_into("<Q", content, 8 + 8 + 24 + 3 + 8, count)  # behind id, place, colour and error of the first point
    (binary / "points3D.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"points3D\.bin is truncated: .* in .*points 1 of 5"):
        read_colmap(binary)


def test_an_unknown_camera_model_of_a_binary_file_is_named(binary):
    (binary / "cameras.bin").write_bytes(colmap_contents(16, (FX, FY, *CENTRE))["cameras.bin"])
    with pytest.raises(UserError, match=r"cameras\.bin, cameras 1 of 1: camera model number 16 is not known"):
        read_colmap(binary)


def test_faults_of_a_binary_file_are_said_with_the_record(binary):
    (binary / "cameras.bin").write_bytes(colmap_contents(1, (FX, -FY, *CENTRE))["cameras.bin"])
    with pytest.raises(UserError, match=r"cameras\.bin, cameras 1 of 1: no camera has"):
        read_colmap(binary)

"""EndoSynth: archives of arrays, metres in half precision, instruments that may be left out."""

import numpy as np
import pytest

from data.formats import EndosynthFormat
from data.formats.endosynth import BLOCK
from util.errors import UserError

DEPTH = np.array([[0.02, 0.1, 0.3], [0, np.nan, np.inf]], np.float16)


def write(root, number, **changes):
    arrays = {"rgb": np.arange(18).reshape(2, 3, 3).astype(np.uint8), "depth": DEPTH, "seg": np.zeros((2, 3), np.uint8)}
    (root / "samples").mkdir(parents=True, exist_ok=True)
    np.savez(root / "samples" / f"{number:06d}.npz", **{k: v for k, v in (arrays | changes).items() if v is not None})


def test_metres_of_half_precision_become_mm_and_what_is_no_depth_is_invalid(tmp_path):
    write(tmp_path, 0)
    source = EndosynthFormat(tmp_path)
    (item,) = source.items("train")
    depth = source.read_depth_mm(item)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[20, 100, 300], [0, 0, 0]], atol=0.13)  # half a step of float16 at 0.3 m
    np.testing.assert_allclose(source.read_frame(item.image)[1, 2], np.array([15, 16, 17]) / 255, rtol=1e-6)
    assert item.files == [item.image]


def test_instruments_can_be_left_out(tmp_path):
    write(tmp_path, 0, seg=np.array([[0, 3, 0], [0, 0, 0]], np.uint8))
    items = EndosynthFormat(tmp_path).items("train")
    kept = EndosynthFormat(tmp_path, mask_instruments=True).read_depth_mm(items[0])
    np.testing.assert_array_equal(kept > 0, [[True, False, True], [False, False, False]])
    assert EndosynthFormat(tmp_path).read_depth_mm(items[0])[0, 1] > 0


def test_neighbours_are_in_one_split(tmp_path):
    for number in range(3 * BLOCK):
        (tmp_path / "samples").mkdir(exist_ok=True)
        (tmp_path / "samples" / f"{number:06d}.npz").touch()
    source = EndosynthFormat(tmp_path)
    first = {phase: [int(item.name) for item in source.items(phase)] for phase in source.phases()}
    assert first == {
        "train": [*range(BLOCK)],
        "eval": [*range(BLOCK, 2 * BLOCK)],
        "test": [*range(2 * BLOCK, 3 * BLOCK)],
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depth": None}, r"000000\.npz has no array 'depth'"),
        ({"depth": np.zeros((2, 3), np.uint16)}, r"depth is uint16 \(2, 3\); expected float16"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, changes, words):
    write(tmp_path, 0, **changes)
    source = EndosynthFormat(tmp_path)
    with pytest.raises(UserError, match=words):
        source.read_depth_mm(source.items("train")[0])


def test_damaged_archives_are_named_and_nothing_is_unpickled(tmp_path):
    write(tmp_path, 0, rgb=np.zeros((2, 3), np.uint8))
    write(tmp_path, 1, rgb=np.array([{"a": 1}], dtype=object))
    write(tmp_path, 2)
    whole = (tmp_path / "samples" / "000002.npz").read_bytes()
    (tmp_path / "samples" / "000002.npz").write_bytes(whole[:100])
    source = EndosynthFormat(tmp_path)
    for item, words in zip(source.items("train"), ("rgb is uint8", "cannot be read", "cannot be read"), strict=True):
        with pytest.raises(UserError, match=words):
            source.read_frame(item.image)

"""What a test leaves on the disk: files in known units, whole or not at all."""

import csv
import json

import cv2
import numpy as np
import pytest

from data.depth_files import read_depth_mm
from evaluation.result_folder import ResultFolder
from util.errors import UserError

SIZE = (70, 90)
RGB = np.full((*SIZE, 3), 0.5, np.float32)
DEPTH = np.linspace(5, 150, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
METRICS = {"tables": {"Not aligned": {"ours": {"abs_rel": 0.2}}}, "frames": 2}


def results(folder, **changes):
    return ResultFolder(folder, **{"max_depth_mm": 200.0, "display_max_mm": 100.0} | changes)


def write_all(folder, **changes):
    with results(folder, **changes) as out:
        for name in ("a", "clip/b"):
            out.add_depth(name, DEPTH, npy=True)
            out.add_row(name, RGB, DEPTH, DEPTH + 3, {"abs_rel": 0.2, "rmse": 3.0})
        out.finish("demo: test", METRICS, {"checkpoint": "latest.pth"}, "Not aligned")
    return folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_everything_is_written_under_the_names_of_the_frames(tmp_path):
    assert names(write_all(tmp_path / "test_latest")) == sorted(
        ["depth/depth.json", "index.html", "metrics.csv", "metrics.json"]
        + [f"{folder}/{name}.png" for folder in ("depth", "color") for name in ("a", "clip/b")]
        + [f"npy/{name}.npy" for name in ("a", "clip/b")]
        + [f"images/{name}_{what}.png" for name in ("a", "clip/b") for what in ("input", "depth", "truth", "error")]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["test_latest"]


@pytest.mark.parametrize(("max_depth_mm", "step_mm"), [(200.0, 1 / 256), (400.0, 400 / 65535)])
def test_pictures_of_16_bits_read_back_as_mm(tmp_path, max_depth_mm, step_mm):
    folder = write_all(tmp_path / "out", max_depth_mm=max_depth_mm)
    np.testing.assert_allclose(read_depth_mm(folder / "depth" / "a.png"), DEPTH, atol=0.51 * step_mm)
    np.testing.assert_array_equal(np.load(folder / "npy" / "a.npy"), DEPTH)


def test_largest_depth_of_the_method_fits_into_16_bits(tmp_path):
    with results(tmp_path / "out", max_depth_mm=400.0) as out:
        out.add_depth("a", np.full(SIZE, 400.0, np.float32), npy=False)
        out.finish("t", METRICS, {}, "Not aligned")
    assert read_depth_mm(tmp_path / "out" / "depth" / "a.png").min() == pytest.approx(400.0)


def test_depth_json_says_unit_scale_alignment_and_checkpoint(tmp_path):
    fields = json.loads((write_all(tmp_path / "out") / "depth" / "depth.json").read_text())
    expected = {"unit": "mm", "mm_per_unit": 1 / 256, "invalid": 0, "alignment": "none", "checkpoint": "latest.pth"}
    assert fields.items() >= expected.items()


def test_scores_are_a_json_and_a_row_an_image_then_their_mean(tmp_path):
    folder = write_all(tmp_path / "out")
    assert json.loads((folder / "metrics.json").read_text()) == METRICS
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert rows == [{"name": name, "abs_rel": "0.2", "rmse": "3.0"} for name in ("a", "clip/b", "(mean)")]


def test_frames_without_truth_have_neither_scores_nor_an_error_picture(tmp_path):
    with results(tmp_path / "out") as out:
        out.add_row("a", RGB, DEPTH, None, {})
        out.finish("t", {"tables": {}}, {}, "Not aligned")
    assert "metrics.csv" not in names(tmp_path / "out")
    assert [name for name in names(tmp_path / "out") if "images" in name] == [
        "images/a_depth.png",
        "images/a_input.png",
    ]


def test_simcol3d_files_are_float16_shares_of_20_cm(tmp_path):
    with results(tmp_path / "out") as out:
        out.add_simcol3d("a", np.array([[0.0, 50.0, 200.0, 300.0]], np.float32))
        out.finish("t", {"tables": {}}, {}, "")
    array = np.load(tmp_path / "out" / "simcol3d" / "a.npy")
    assert array.dtype == np.float16
    assert array.tolist() == [[0.0, 0.25, 1.0, 1.0]]


def test_points_lie_in_mm_in_front_of_the_camera(tmp_path):
    K = np.array([[50.0, 0, 44.5], [0, 50.0, 34.5], [0, 0, 1]])
    with results(tmp_path / "out") as out:
        out.add_points("a", DEPTH, K, RGB)
        out.finish("t", {"tables": {}}, {}, "")
    header = (tmp_path / "out" / "ply" / "a.ply").read_bytes()[:200].decode("latin-1")
    assert f"element vertex {SIZE[0] * SIZE[1]}" in header


def test_video_shows_frame_and_depth_side_by_side(tmp_path):
    with results(tmp_path / "out") as out:
        for _ in range(3):
            out.add_video_frame(RGB, DEPTH, 10.0)
        out.finish("t", {"tables": {}}, {}, "")
    (path,) = (tmp_path / "out").glob("depth.*")
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) > 2 * SIZE[1]


@pytest.mark.parametrize(
    "error", [UserError("a frame is truncated"), KeyboardInterrupt(), OSError(28, "No space left")]
)
def test_interrupted_test_leaves_nothing_and_keeps_the_earlier_results(tmp_path, error):
    folder = write_all(tmp_path / "out")
    before = names(folder)

    def interrupted():
        with results(folder) as out:
            out.add_depth("new", DEPTH, npy=True)
            out.add_video_frame(RGB, DEPTH, 10.0)
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert names(folder) == before


def test_video_that_cannot_be_finished_leaves_nothing_either(tmp_path, monkeypatch):
    def write():
        with results(tmp_path / "out") as out:
            out.add_video_frame(RGB, DEPTH, 10.0)

            def full(*error):
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(type(out._video), "__exit__", full)
            out.finish("t", {"tables": {}}, {}, "")

    with pytest.raises(OSError, match="No space left"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_new_results_take_the_place_of_the_earlier_ones(tmp_path):
    write_all(tmp_path / "out")
    with results(tmp_path / "out") as out:
        out.add_depth("only", DEPTH, npy=False)
        out.finish("t", {"tables": {}}, {}, "")
    expected = ["color/only.png", "depth/depth.json", "depth/only.png", "index.html", "metrics.json"]
    assert names(tmp_path / "out") == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# Depth without a scale


def test_first_frame_decides_the_unit_of_all(tmp_path):
    with results(tmp_path / "out", metric=False) as out:
        out.add_depth("first", np.full(SIZE, 0.2, np.float32), npy=True)
        out.add_depth("second", np.full(SIZE, 0.5, np.float32), npy=True)
        out.add_depth("far", np.full(SIZE, 5.0, np.float32), npy=False)
        out.finish("t", {"tables": {}}, {"checkpoint": "latest.pth"}, "")
    folder = tmp_path / "out"
    assert np.load(folder / "npy" / "second.npy")[0, 0] == pytest.approx(2.5)
    assert read_depth_mm(folder / "depth" / "second.png")[0, 0] == pytest.approx(2.5, abs=1 / 8192)
    assert (
        read_depth_mm(folder / "depth" / "far.png")[0, 0] == 0.0
    )  # beyond what 16 bits hold: no depth, never a wrong one
    fields = json.loads((folder / "depth" / "depth.json").read_text())
    assert fields["unit_as_predicted"] == pytest.approx(0.2)
    assert fields["largest"] == pytest.approx(65535 / 4096)


def test_colours_of_the_two_kinds_of_depth_are_explained_each_in_its_unit(tmp_path):
    with results(tmp_path / "out", metric=False) as out:
        out.add_depth("a", DEPTH / 100, npy=False)
        out.add_row("a", RGB, DEPTH / 100, None, {})
        out.add_row("b", RGB, DEPTH, DEPTH + 3, {"abs_rel": 0.2})
        out.finish("t", {"tables": {}}, {}, "Median-scaled")
    page = (tmp_path / "out" / "index.html").read_text()
    for caption, end in (
        ("Relative depth", "4 × median of the first frame"),
        ("Aligned depth", "100 mm"),
        ("Error", "25 mm"),
    ):
        assert f"<b>{caption}</b><span>0</span>" in page
        assert f"<span>{end}</span>" in page
    assert {"images/a_relative_depth.png", "images/b_aligned_depth.png"} <= set(names(tmp_path / "out"))


def test_errors_are_shown_where_they_are_judged(tmp_path):
    judged = np.zeros(SIZE, bool)
    judged[:10] = True
    with results(tmp_path / "out") as out:
        out.add_row("a", RGB, DEPTH, DEPTH + 3, {"abs_rel": 0.2}, judged)
        out.finish("t", {"tables": {}}, {}, "")
    picture = cv2.imread(str(tmp_path / "out" / "images" / "a_error.png"))
    assert ((picture == 128).all(axis=2) == ~judged).all()


def test_first_frame_of_nothing_has_no_unit(tmp_path):
    out = results(tmp_path / "out", metric=False)
    with pytest.raises(UserError, match="median of the first frame, which is 0 everywhere"):
        out.add_depth("a", np.zeros(SIZE, np.float32), npy=False)

"""A whole test, on a method that is known: what it scores, and what it needs for it."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation import tester
from evaluation.scores import References
from evaluation.sources import open_source
from test import summary
from tests.tiny_run import FRAME, MM_PER_UNIT8, write_clip, write_png
from util.errors import UserError

PINHOLE = {"model": "pinhole", "width": 88, "height": 72, "fx": 80.0, "fy": 60.0, "cx": 40.0, "cy": 30.0}
REFERENCES = References(constant_mm=100.0, brightness_k_mm=50.0)


def run(opt, predictor, folder, references=REFERENCES):
    return tester.Tester(opt, open_source(opt), predictor, references).run(folder)


def write_grey(folder, values):
    """Plain pictures, called by their number."""
    for number, value in enumerate(values):
        picture = np.full((*FRAME, 3), value, np.uint8)
        write_png(folder / f"{number}.png", picture if folder.name != "gt" else picture[..., 0])
    return folder


@pytest.fixture
def ramps(tmp_path):
    """Two frames whose brightness is their depth, and truths twice as far."""
    ramp = np.tile(np.linspace(40, 120, FRAME[1]), (FRAME[0], 1)).astype(np.uint8)
    for number, picture in enumerate((ramp, ramp.max() + ramp.min() - ramp)):
        write_png(tmp_path / "in" / f"{number}.png", np.repeat(picture[..., None], 3, axis=2))
        write_png(tmp_path / "gt" / f"{number}.png", 2 * picture)
    return {"input": tmp_path / "in", "truth": tmp_path / "gt"}


def test_scores_stand_under_every_alignment_beside_the_references(make_options, brightness_predictor, ramps, tmp_path):
    metrics = run(make_options(**ramps), brightness_predictor, tmp_path / "out")
    assert (metrics["frames"], metrics["scored"]) == (2, 2)
    assert list(metrics["tables"]) == ["Not aligned", "Median-scaled", "Scale and shift aligned"]
    assert list(metrics["tables"]["Not aligned"]) == ["ours", "constant", "brightness"]
    ours = {title: rows["ours"]["abs_rel"] for title, rows in metrics["tables"].items()}
    assert ours["Not aligned"] == pytest.approx(0.5, rel=1e-5)
    assert ours["Median-scaled"] == pytest.approx(0.0, abs=1e-5)
    assert ours["Scale and shift aligned"] == pytest.approx(0.0, abs=1e-5)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert [row["name"] for row in metrics["per_image"]] == ["0", "1"]


def test_truth_without_a_scale_is_scored_aligned_only_and_without_mm(
    make_options, brightness_predictor, ramps, tmp_path
):
    (ramps["truth"] / "depth.json").write_text(json.dumps({"mm_per_unit": 1, "relative": True}))
    metrics = run(make_options(**ramps), brightness_predictor, tmp_path / "out")
    assert list(metrics["tables"]) == ["Scale and shift aligned"]
    rows = metrics["tables"]["Scale and shift aligned"]
    assert list(rows) == ["ours", "constant", "brightness"]
    assert list(rows["ours"]) == ["abs_rel", "rmse_log", "log10", "delta1", "delta2", "delta3"]
    assert rows["ours"]["abs_rel"] == pytest.approx(0.0, abs=1e-5)


def test_truth_without_a_scale_takes_no_other_alignment_and_says_nothing_over_time(
    make_options, brightness_predictor, ramps, tmp_path
):
    (ramps["truth"] / "depth.json").write_text(json.dumps({"mm_per_unit": 1, "relative": True}))
    for align in ("none", "median"):
        with pytest.raises(UserError, match=f"--align {align}: this truth has neither unit nor zero"):
            run(make_options(**ramps, align=align), brightness_predictor, tmp_path / "out")
    opt = make_options(**ramps, align="scale_shift", temporal=True)
    metrics = run(opt, brightness_predictor, tmp_path / "out")
    assert set(metrics["temporal"]) == {"ours", "constant", "brightness"}


def test_depth_files_are_never_aligned_whatever_the_gallery_shows(make_options, brightness_predictor, ramps, tmp_path):
    run(make_options(**ramps, align="median", save_npy=True), brightness_predictor, tmp_path / "out")
    depth = np.load(tmp_path / "out" / "npy" / "0.npy")
    assert depth[0, 0] == pytest.approx(40 / 255 * 200, rel=1e-5)
    scores = (tmp_path / "out" / "metrics.csv").read_text().splitlines()[1].split(",")
    assert float(scores[1]) == pytest.approx(0.0, abs=1e-5)  # abs_rel, median-scaled


def test_frame_whose_truth_is_invalid_everywhere_is_predicted_and_not_scored(
    make_options, brightness_predictor, tmp_path
):
    frames, truth = write_grey(tmp_path / "in", [100, 120]), write_grey(tmp_path / "gt", [100, 0])
    metrics = run(make_options(input=frames, truth=truth), brightness_predictor, tmp_path / "out")
    assert (metrics["frames"], metrics["scored"]) == (2, 1)
    assert (tmp_path / "out" / "depth" / "1.png").is_file()


def test_frames_without_any_truth_have_depth_and_no_scores(make_options, brightness_predictor, tmp_path):
    opt = make_options(input=write_grey(tmp_path / "in", [100, 120]))
    metrics = run(opt, brightness_predictor, tmp_path / "out", references=None)
    assert (metrics["frames"], metrics["scored"], metrics["tables"], metrics["temporal"]) == (2, 0, {}, {})


def test_how_many_ends_early(make_options, brightness_predictor, tmp_path):
    opt = make_options(input=write_grey(tmp_path / "in", [100, 120, 140]), how_many=2)
    assert run(opt, brightness_predictor, tmp_path / "out")["frames"] == 2


def test_consecutive_frames_are_scored_along_the_flow_and_filmed(make_options, brightness_predictor, tmp_path):
    write_clip(tmp_path / "in", 3)
    metrics = run(make_options(input=tmp_path / "in", temporal=True), brightness_predictor, tmp_path / "out")
    assert metrics["flow"] == "dis"
    # The depth of this method moves with the picture; what is left is DIS's error of tenths of a pixel.
    assert metrics["temporal"]["ours"]["temporal_grad_rel"] < 0.4
    assert list((tmp_path / "out").glob("depth.*"))
    apart = run(make_options(input=tmp_path / "in"), brightness_predictor, tmp_path / "out")
    assert apart["temporal"] == {}


def test_consecutive_frames_of_different_sizes_are_an_error(make_options, brightness_predictor, tmp_path):
    write_clip(tmp_path / "in", 1)
    write_png(tmp_path / "in" / "z.png", np.full((20, 24, 3), 99, np.uint8))
    with pytest.raises(UserError, match="0000 and z differ in size"):
        run(make_options(input=tmp_path / "in", temporal=True), brightness_predictor, tmp_path / "out")


def test_no_flow_estimator_is_built_where_none_is_needed(make_options, brightness_predictor, tmp_path):
    """RAFT's weights would be downloaded, on machines with a GPU by default."""
    frames = write_grey(tmp_path / "in", [100])
    opt = make_options(input=frames, flow="raft_large", flow_weights=Path("not/there.pth"))
    assert run(opt, brightness_predictor, tmp_path / "out")["frames"] == 1


def test_challenge_protocol_scales_the_whole_trajectory(make_options, brightness_predictor, tmp_path):
    frames, truth = write_grey(tmp_path / "in", [50, 60]), write_grey(tmp_path / "gt", [100, 120])
    opt = make_options(input=frames, truth=truth, protocol="simcol3d")
    metrics = run(opt, brightness_predictor, tmp_path / "out")
    assert metrics["simcol3d"]["scale"] == pytest.approx(2.0, rel=1e-5)
    assert metrics["simcol3d"]["l1_cm"] == pytest.approx(0.0, abs=1e-5)
    array = np.load(tmp_path / "out" / "simcol3d" / "1.npy")
    assert (array.dtype, array.shape) == (np.float16, FRAME)
    assert float(array[0, 0]) == pytest.approx(60 / 255, rel=1e-3)


# Point clouds


def points_of(path):
    """Vertices of a PLY as float arrays (N, 3)."""
    header, body = path.read_bytes().split(b"end_header\n", 1)
    count = int(header.split(b"element vertex ")[1].split()[0])
    kinds = [line.split()[1].decode() for line in header.splitlines() if line.startswith(b"property")]
    fields = [(str(i), "<f4" if kind.startswith("float") else "u1") for i, kind in enumerate(kinds)]
    vertices = np.frombuffer(body, np.dtype(fields), count)
    return np.stack([vertices[name] for name in "012"], axis=1)


def test_points_are_projected_with_the_camera_scaled_to_the_frames(make_options, brightness_predictor, tmp_path):
    frames = write_grey(tmp_path / "in", [100])
    (frames / "intrinsics.json").write_text(json.dumps(PINHOLE))  # of frames twice as large
    run(make_options(input=frames, save_ply=True), brightness_predictor, tmp_path / "out")
    points = points_of(tmp_path / "out" / "ply" / "0.ply")
    depth = 100 * MM_PER_UNIT8
    np.testing.assert_allclose(points[:, 2], depth, rtol=1e-5)
    # Half the size: fx 40, and cx from (40 + 0.5) / 2 - 0.5 = 19.75; the first pixel is x = 0.
    assert points[:, 0].min() == pytest.approx((0 - 19.75) / 40 * depth, rel=1e-5)
    assert points[:, 1].min() == pytest.approx((0 - 14.75) / 30 * depth, rel=1e-5)


def test_field_of_view_stands_in_for_a_camera_file(make_options, brightness_predictor, tmp_path):
    opt = make_options(input=write_grey(tmp_path / "in", [100]), save_ply=True, fov=90.0)
    run(opt, brightness_predictor, tmp_path / "out")
    points = points_of(tmp_path / "out" / "ply" / "0.ply")
    assert np.abs(points[:, 0]).max() == pytest.approx(100 * MM_PER_UNIT8 * 21.5 / 22, rel=1e-5)


def test_points_without_a_camera_are_an_error_before_anything_is_written(make_options, brightness_predictor, tmp_path):
    opt = make_options(input=write_grey(tmp_path / "in", [100]), save_ply=True)
    with pytest.raises(UserError, match=r"points need a pinhole camera: there is no .*intrinsics\.json; give"):
        run(opt, brightness_predictor, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_camera_that_is_no_pinhole_is_named_and_not_taken_for_a_missing_one(
    make_options, brightness_predictor, tmp_path
):
    frames = write_grey(tmp_path / "in", [100])
    (frames / "intrinsics.json").write_text(json.dumps(PINHOLE | {"model": "fisheye"}))
    with pytest.raises(UserError, match="fisheye"):
        run(make_options(input=frames, save_ply=True), brightness_predictor, tmp_path / "out")
    assert run(make_options(input=frames), brightness_predictor, tmp_path / "out")["frames"] == 1


def write_clips_with_cameras(dataroot, cameras):
    """A clip of one frame for each camera, None being a clip without one."""
    for name, camera in cameras.items():
        write_grey(dataroot / "video_test" / name, [100])
        if camera is not None:
            (dataroot / "video_test" / name / "intrinsics.json").write_text(json.dumps(camera))


def left_edge(path):
    """x of the leftmost point, by its depth."""
    points = points_of(path)
    return points[:, 0].min() / points[0, 2]


def test_points_of_each_clip_have_its_own_camera(make_options, brightness_predictor, tmp_path):
    write_clips_with_cameras(tmp_path / "data", {"a": PINHOLE, "b": PINHOLE | {"fx": 20.0}})
    run(make_options(phase="video_test", save_ply=True), brightness_predictor, tmp_path / "out")
    ply = tmp_path / "out" / "ply"
    assert left_edge(ply / "a" / "0.ply") == pytest.approx(-19.75 / 40, rel=1e-5)
    assert left_edge(ply / "b" / "0.ply") == pytest.approx(-19.75 / 10, rel=1e-5)
    run(make_options(phase="video_test", save_ply=True, fov=90.0), brightness_predictor, tmp_path / "asked")
    for clip in "ab":
        assert left_edge(tmp_path / "asked" / "ply" / clip / "0.ply") == pytest.approx(-21.5 / 22, rel=1e-5)


def test_clip_without_a_camera_beside_others_is_named(make_options, brightness_predictor, tmp_path):
    write_clips_with_cameras(tmp_path / "data", {"a": PINHOLE, "b": None})
    with pytest.raises(UserError, match="points need a pinhole camera, and that of b/0 is not known"):
        run(make_options(phase="video_test", save_ply=True), brightness_predictor, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "data" / "video_test" / "b" / "intrinsics.json").write_text(json.dumps({"model": "pinhole"}))
    unread = run(make_options(phase="video_test"), brightness_predictor, tmp_path / "out")  # a camera nobody needs
    assert unread["frames"] == 2


def test_points_of_a_split_have_the_cameras_that_its_set_knows(make_options, brightness_predictor, tmp_path):
    lines = ["image,depth,split,fx,fy,cx,cy"]
    for number, fx in enumerate((40, 10)):
        write_png(tmp_path / "data" / f"{number}.png", np.full((*FRAME, 3), 100, np.uint8))
        write_png(tmp_path / "data" / f"{number}_depth.png", np.full(FRAME, 100, np.uint8))
        lines.append(f"{number}.png,{number}_depth.png,test,{fx},40,20,17")
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(lines) + "\n")
    run(make_options(dataset="manifest", save_ply=True), brightness_predictor, tmp_path / "out")
    for number, fx in enumerate((40, 10)):
        assert left_edge(tmp_path / "out" / "ply" / f"{number}.ply") == pytest.approx(-20 / fx, rel=1e-5)


# What is judged


def test_range_and_crop_change_the_scores_and_are_named(make_options, brightness_predictor, tmp_path):
    """The frame says 100 everywhere; its truth is 50 on the left, 100 in the middle and 200 on the right."""
    frames = write_grey(tmp_path / "in", [100])
    truth = np.full(FRAME, 100, np.uint8)
    truth[:, :10], truth[:, 30:] = 50, 200
    write_png(tmp_path / "gt" / "0.png", truth)
    given = {"input": frames, "truth": tmp_path / "gt"}

    def score(**changes):
        return run(make_options(**given, **changes), brightness_predictor, tmp_path / "out")

    def abs_rel(metrics):
        return metrics["tables"]["Not aligned"]["ours"]["abs_rel"]

    assert abs_rel(score()) == pytest.approx((10 * 1.0 + 20 * 0 + 14 * 0.5) / 44, rel=1e-5)
    near = score(max_eval_mm=100 * MM_PER_UNIT8 + 1)
    assert abs_rel(near) == pytest.approx(10 / 30, rel=1e-5)
    assert near["judged depth"] == "below 79.4314 mm"
    # Clamped to less than the prediction says.
    assert abs_rel(score(max_eval_mm=75 * MM_PER_UNIT8)) == pytest.approx((75 - 50) / 50, rel=1e-5)
    right = score(eval_crop=(0, 36, 30, 44))
    assert abs_rel(right) == pytest.approx(0.5, rel=1e-5)
    assert right["judged crop"] == "0,36,30,44"
    assert "<dt>judged crop</dt><dd>0,36,30,44</dd>" in (tmp_path / "out" / "index.html").read_text()
    with pytest.raises(UserError, match="--eval_crop nyu is rows and columns of 480x640"):
        score(eval_crop="nyu")


def test_frames_without_a_pixel_that_counts_are_named(make_options, brightness_predictor, tmp_path):
    frames, truth = write_grey(tmp_path / "in", [100, 120]), write_grey(tmp_path / "gt", [100, 200])
    opt = make_options(input=frames, truth=truth, max_eval_mm=100.0)
    metrics = run(opt, brightness_predictor, tmp_path / "out")
    assert (metrics["scored"], metrics["unscored"]) == (1, ["1"])
    assert "truth has no pixel that counts: 1" in summary(metrics)


def write_labels(folder, masks):
    """Label pictures in which True is red, and red moves."""
    for number, mask in enumerate(masks):
        write_png(folder / f"{number}.png", np.where(mask[..., None], [255, 0, 0], [0, 0, 255]).astype(np.uint8))
    (folder / "dynamic_colors.txt").write_text("255 0 0\n")
    return folder


def test_static_and_dynamic_parts_are_scored_apart_each_over_its_own_images(
    make_options, brightness_predictor, tmp_path
):
    """0: static is right, dynamic half as far as said. 1: all dynamic and said to be too near. 2: all static."""
    frames, truth = write_grey(tmp_path / "in", [100, 60, 80]), write_grey(tmp_path / "gt", [100, 120, 80])
    gt = np.full(FRAME, 100, np.uint8)
    gt[:, 33:] = 50
    write_png(truth / "0.png", gt)
    masks = np.zeros((3, *FRAME), bool)
    masks[0, :, 33:], masks[1] = True, True
    opt = make_options(input=frames, truth=truth, seg_mask=write_labels(tmp_path / "labels", masks))
    metrics = run(opt, brightness_predictor, tmp_path / "out")
    ours = {title: rows["ours"]["abs_rel"] for title, rows in metrics["tables"].items()}
    assert metrics["parts"] == {"static": {"scored": 2}, "dynamic": {"scored": 2}}
    assert ours["Not aligned"] == pytest.approx((0.25 * 1.0 + 0.5 + 0.0) / 3, rel=1e-5)  # each image once
    assert ours["Static, not aligned"] == pytest.approx(0.0, abs=1e-5)
    assert ours["Dynamic, not aligned"] == pytest.approx((1.0 + 0.5) / 2, rel=1e-5)
    # The whole image's median is 100 / 100, which the dynamic quarter would not choose.
    assert ours["Dynamic, median-scaled"] == pytest.approx((1.0 + 0.0) / 2, rel=1e-5)
    assert ours["Static, median-scaled"] == pytest.approx(0.0, abs=1e-5)
    assert "Dynamic, median-scaled" in (tmp_path / "out" / "index.html").read_text()
    assert "Dynamic, median-scaled" in summary(metrics)


def test_label_pictures_without_a_truth_to_part_are_an_error(make_options, brightness_predictor, tmp_path):
    frames = write_grey(tmp_path / "in", [100])
    opt = make_options(input=frames, seg_mask=write_labels(tmp_path / "labels", np.zeros((1, *FRAME), bool)))
    with pytest.raises(UserError, match="--seg_mask parts the scores, but no frame of in has a truth to score"):
        run(opt, brightness_predictor, tmp_path / "out")
    opt = make_options(input=frames, truth=write_grey(tmp_path / "gt", [100]), seg_mask=tmp_path / "gt")
    with pytest.raises(FileNotFoundError, match=r"dynamic_colors\.txt"):
        run(opt, brightness_predictor, tmp_path / "out")

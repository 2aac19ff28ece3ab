"""The rendered set as its readers meet it: layout, encodings, truth, repeatability, failures."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.phantom import render
from data.phantom.__main__ import main
from data.phantom.camera import square_intrinsics
from data.phantom.plan import Task, plan_tasks, split_sizes
from data.phantom.prepare import render_if_missing
from data.phantom.render import render_phantom
from data.phantom.scenes import render_task
from data.phantom.writer import write_depth, write_flow
from util.errors import UserError
from util.new_folder import MadeMeanwhile

FRAMES, SIZE, SEED = 2, 48, 3


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set, rendered in one process."""
    out = tmp_path_factory.mktemp("phantom") / "one_worker"
    render_phantom(out, FRAMES, SIZE, SEED, workers=1)
    return out


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _read_depth_mm(folder: Path, frame: int) -> np.ndarray:
    scale = json.loads((folder / "depth.json").read_text())["mm_per_unit"]
    return cv2.imread(str(folder / f"{frame:06d}.png"), cv2.IMREAD_UNCHANGED) * scale


def _read_flow(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rgb = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert rgb.dtype == np.uint16
    return (rgb[..., :2].astype(float) - 2**15) / 64.0, rgb[..., 2] == 1


def _clips(root: Path) -> list[Path]:
    return sorted((root / "truth").glob("video_*/*"))


def _predicted_motion(clip: Path, t: int, to: int) -> tuple[np.ndarray, np.ndarray]:
    """Flow and depth in frame ``to`` of the points seen in frame ``t``, from the files' depth and poses."""
    K = json.loads((clip.parents[2] / clip.parent.name / clip.name / "intrinsics.json").read_text())
    poses = np.array(json.loads((clip / "poses.json").read_text())["world_from_cam"])
    depth_mm = _read_depth_mm(clip / "depth", t)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    rays = np.stack([(x - K["cx"]) / K["fx"], (y - K["cy"]) / K["fy"], np.ones_like(depth_mm)], axis=-1)
    to_from_t = np.linalg.inv(poses[to]) @ poses[t]
    points = (rays * depth_mm[..., None]) @ to_from_t[:3, :3].T + to_from_t[:3, 3]
    z = np.where(points[..., 2] > 0.1, points[..., 2], np.nan)
    u = K["fx"] * points[..., 0] / z + K["cx"] - x
    v = K["fy"] * points[..., 1] / z + K["cy"] - y
    return np.stack([u, v], axis=-1), points[..., 2]


def test_layout(rendered: Path) -> None:
    sizes = split_sizes(FRAMES)
    for split in ("train", "eval", "test"):
        images, depths = (sorted(path.name for path in (rendered / f"{split}_{ab}").glob("*.png")) for ab in "AB")
        assert images == depths
        assert len(images) == sizes[split]
        assert json.loads((rendered / f"{split}_B" / "depth.json").read_text())["mm_per_unit"] == 1 / 256
    for split in ("video_train", "video_test"):
        for clip in (rendered / split).iterdir():
            names = sorted(path.name for path in clip.glob("*.jpg"))
            assert names == [f"{t:06d}.jpg" for t in range(sizes[split])]
            truth = rendered / "truth" / split / clip.name
            stems = [Path(name).stem for name in names]
            for kind, expected in (("depth", stems), ("flow_fwd", stems[:-1]), ("flow_bwd", stems[1:])):
                assert sorted(path.stem for path in (truth / kind).glob("*.png")) == expected
            assert len(json.loads((truth / "poses.json").read_text())["world_from_cam"]) == len(names)
            assert json.loads((clip / "intrinsics.json").read_text())["model"] == "pinhole"
    assert json.loads((rendered / "phantom.json").read_text())["seed"] == SEED
    assert json.loads((rendered / "intrinsics.json").read_text())["cx"] == (SIZE - 1) / 2


def test_pictures_and_depth_are_what_their_names_say(rendered: Path) -> None:
    for path in (rendered / "train_A").glob("*.png"):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (SIZE, SIZE, 3)
        assert image.dtype == np.uint8
        assert image[..., 2].mean() > image[..., 0].mean() + 20  # tissue is red; OpenCV has blue first
        depth = cv2.imread(str(rendered / "train_B" / path.name), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.uint16
        assert depth.shape == (SIZE, SIZE)
        assert depth.min() > 1.5 * 256  # a clearance of 3 mm, seen at 55 degrees and more
        assert depth.max() <= 200 * 256
    for path in rendered.glob("video_*/*/*.jpg"):
        image = cv2.imread(str(path))
        assert image.shape == (SIZE, SIZE, 3)
        assert image[0, 0].max() < 40  # black corner
        assert 50 < image[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4].mean() < 180


def test_depth_truth_is_invalid_in_the_black_corners_only(rendered: Path) -> None:
    for clip in _clips(rendered):
        valid = _read_depth_mm(clip / "depth", 0) > 0
        assert not valid[0, 0]
        assert valid[SIZE // 2].all()
        assert 0.75 < valid.mean() < 0.97


@pytest.mark.parametrize(("kind", "step"), [("flow_fwd", 1), ("flow_bwd", -1)])
def test_flow_is_what_depth_and_poses_say(rendered: Path, kind: str, step: int) -> None:
    for clip in _clips(rendered):
        for path in (clip / kind).glob("*.png"):
            flow, visible = _read_flow(path)
            expected, _ = _predicted_motion(clip, int(path.stem), int(path.stem) + step)
            error = np.linalg.norm(flow - expected, axis=-1)[visible]
            # Flow is stored in steps of 1/64 px (0.011 px off at most), depth in steps of 1/256 mm, which moves
            # a point 3 mm away by less than 0.05 px.
            assert error.max() < 0.06
            assert np.median(error) < 0.011
            assert visible.mean() > 0.4


def test_depth_warped_by_the_flow_is_the_next_depth(rendered: Path) -> None:
    errors = []
    for clip in _clips(rendered):
        for path in (clip / "flow_fwd").glob("*.png"):
            t = int(path.stem)
            flow, visible = _read_flow(path)
            _, expected_mm = _predicted_motion(clip, t, t + 1)
            next_mm = _read_depth_mm(clip / "depth", t + 1).astype(np.float32)
            y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
            target_x, target_y = x + flow[..., 0].astype(np.float32), y + flow[..., 1].astype(np.float32)
            sampled_mm = cv2.remap(next_mm, target_x, target_y, cv2.INTER_LINEAR)
            errors.append((np.abs(sampled_mm - expected_mm) / expected_mm)[visible])
    errors = np.concatenate(errors)
    # At 48 pixels one pixel spans 3 degrees, so bilinear samples mix both sides of a fold's edge: a few per cent of
    # the pixels are far off, the others agree up to the curvature of the wall within a pixel.
    assert np.median(errors) < 0.005
    assert np.mean(errors < 0.05) > 0.9


def test_forward_and_backward_flow_cancel_where_the_point_is_seen_twice(rendered: Path) -> None:
    for clip in _clips(rendered):
        forward, visible = _read_flow(clip / "flow_fwd" / "000000.png")
        backward, _ = _read_flow(clip / "flow_bwd" / "000001.png")
        y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
        target_x, target_y = x + forward[..., 0].astype(np.float32), y + forward[..., 1].astype(np.float32)
        back = cv2.remap(backward.astype(np.float32), target_x, target_y, cv2.INTER_LINEAR)
        assert np.median(np.linalg.norm(forward + back, axis=-1)[visible]) < 0.1


def test_number_of_workers_does_not_change_a_byte(rendered: Path, tmp_path: Path) -> None:
    render_phantom(tmp_path / "two_workers", FRAMES, SIZE, SEED, workers=2)
    again = _contents(tmp_path / "two_workers")
    first = _contents(rendered)
    assert list(again) == list(first)
    assert [name for name in first if first[name] != again[name]] == []


def test_another_seed_draws_another_colon(rendered: Path, tmp_path: Path) -> None:
    render_task(tmp_path, Task("train", 0, 1, SEED + 1), square_intrinsics(SIZE, 110.0))
    name = "0000_0000.png"
    assert (tmp_path / "train_B" / name).read_bytes() != (rendered / "train_B" / name).read_bytes()


def test_frames_are_spread_over_all_colons() -> None:
    for frames in (1, 40, 333):
        for split, size in split_sizes(frames).items():
            tasks = [task for task in plan_tasks(frames, 0) if task.split == split]
            assert sum(task.num_frames for task in tasks) == size
            assert [task.index for task in tasks] == list(range(len(tasks)))
            assert max(task.num_frames for task in tasks) <= 40


def test_depth_beyond_the_range_is_stored_as_invalid(tmp_path: Path) -> None:
    write_depth(tmp_path / "depth.png", np.array([[200.0, 200.5], [1.0, np.inf]]))
    stored = cv2.imread(str(tmp_path / "depth.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, [[51200, 0], [256, 0]])


def test_flow_that_does_not_fit_the_format_is_stored_as_invalid(tmp_path: Path) -> None:
    flow = np.array([[[1.5, -2.0], [600.0, 0.0], [3.0, 3.0]]])
    visible = np.array([[True, True, False]])
    write_flow(tmp_path / "flow.png", flow, np.array([[True, True, True]]), visible)
    stored, valid = _read_flow(tmp_path / "flow.png")
    np.testing.assert_array_equal(valid, [[True, False, False]])
    np.testing.assert_allclose(stored[0, 0], [1.5, -2.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": -1}, "frames must be at least 1, got -1"),
        ({"frames": 0}, "frames must be at least 1"),
        ({"size": 31}, "size must be at least 32, got 31"),
        ({"seed": -3}, "seed must be at least 0"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"fov_deg": 150.0}, "field of view must lie in"),
        ({"fov_deg": float("nan")}, "field of view must lie in"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, change: dict[str, float], message: str) -> None:
    arguments = {"frames": 2, "size": 32, "seed": 0, "workers": 1} | change
    with pytest.raises(UserError, match=message):
        render_phantom(tmp_path / "out", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        render_phantom(tmp_path, 2, 32, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    with pytest.raises(UserError, match="is a file"):
        render_phantom(tmp_path / "kept.txt", 2, 32, 0)


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def render_then_stop(root: Path, task: Task, camera: object) -> int:
        (root / "train_A").mkdir()
        (root / "train_A" / "half.png").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(render, "render_task", render_then_stop)
    with pytest.raises(KeyboardInterrupt):
        render_phantom(tmp_path / "out", 2, 32, 0, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_render_at_once_the_second_takes_what_the_first_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, original = tmp_path / "phantom", render.render_tasks

    def and_so_did_another(folder: Path, *args: Any) -> None:
        original(folder, *args)
        out.mkdir(exist_ok=True)
        (out / "theirs").touch()

    monkeypatch.setattr(render, "render_tasks", and_so_did_another)
    opt = Namespace(dataroot=out, phantom_frames=1, phantom_size=32, phantom_seed=0, streams=(), sfm_root=None)
    with pytest.raises(MadeMeanwhile, match="made by another process meanwhile"):
        render_phantom(out, frames=1, size=32, seed=0)
    (out / "theirs").unlink()
    out.rmdir()
    render_if_missing(opt)
    assert "another training has rendered" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["theirs"]
    assert [path.name for path in tmp_path.iterdir()] == ["phantom"]


def test_command_line_reaches_the_renderer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("data.phantom.__main__.render_phantom", lambda *arguments: calls.append(arguments))
    options = ["--frames", "5", "--size", "64", "--seed", "7", "--fov", "95", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["data.phantom", "--out", str(tmp_path), *options])
    main()
    assert calls == [(tmp_path, 5, 64, 7, 95.0, 1)]

"""``python -m util.register3d``: what it writes and says, from clouds whose place and scale are known."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from evaluation import register3d as program
from evaluation.registration_picture import MAX_DOTS, draw_registration
from evaluation.surface_files import start_to_json
from models.geometry.surface import Surface
from tests.models.geometry.bumpy_tube import TRUE, bumpy_tube, moved_back, off, points_on
from tests.tiny_run import call
from util.colormap import colorize_error
from util.pointcloud import write_ply

ROOT = Path(__file__).parents[2]
NOISE = 0.2  # of the second cloud, in the surface's unit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tube, two clouds of it whose scales differ by 2 %, and a start that is off by 8 degrees and 10 %."""
    root = tmp_path_factory.mktemp("clouds")
    trimesh.Trimesh(*bumpy_tube(), process=False).export(root / "tube.ply")
    noise = np.random.default_rng(0).normal(size=(600, 3)) * NOISE
    for name, scale, more in (("exact", 1.0, 0.0), ("noisy", 1.02, noise)):
        points = moved_back(points_on(*bumpy_tube(), 600) + more, TRUE._replace(scale=scale * TRUE.scale))
        write_ply(root / f"{name}.ply", points, np.zeros((600, 3), np.uint8))
    start = off(TRUE, points_in(root / "exact.ply"), [1, 1, 0], 8, 1.1, 0.0)
    (root / "start.json").write_text(json.dumps(start_to_json(start)))
    return root


@pytest.fixture(scope="module")
def result(folder):
    """The result of both clouds, registered as a user does it: the folder, and what was said."""
    out = folder / "new" / "out"
    clouds = [folder / "exact.ply", folder / "noisy.ply"]
    command = [sys.executable, "-m", "util.register3d", "--cloud", *clouds, "--surface", folder / "tube.ply"]
    command += ["--out", out, "--start", folder / "start.json", "--samples", "8000", "--unit", "cm"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out, done.stdout, json.loads((out / "registration.json").read_text())


def points_in(path):
    return np.array(trimesh.load(path, process=False).vertices)


def register(folder, *more, cloud="exact.ply"):
    given = [
        f"--cloud={folder / cloud}",
        f"--surface={folder / 'tube.ply'}",
        f"--out={folder / 'out'}",
        "--samples=100",
    ]
    return call(program.main, *given, *more)


def test_the_known_similarity_is_in_the_figures_and_so_is_the_start(folder, result):
    found = result[2]["clouds"]["exact"]
    assert found["similarity"]["scale"] == pytest.approx(TRUE.scale, rel=1e-3)
    np.testing.assert_allclose(found["similarity"]["rotation"], TRUE.rotation, atol=1e-3)
    np.testing.assert_allclose(found["similarity"]["translation"], TRUE.translation, atol=0.05)
    points = points_in(folder / "exact.ply")
    start = json.loads((folder / "start.json").read_text())
    assert found["start"]["scale"] / start["scale"] == pytest.approx(1, rel=0.21)
    started = np.array(found["start"]["rotation"]) @ points.mean(axis=0) * found["start"]["scale"]
    given = np.array(start["rotation"]) @ points.mean(axis=0) * start["scale"]
    np.testing.assert_allclose(started + found["start"]["translation"], given + start["translation"], atol=1e-6)
    assert found["mean"] < 1e-3
    assert (found["points"], found["converged"], found["at_bound"]) == (600, True, False)
    assert found["share_used"] == 0.9


def test_figures_over_clouds_are_those_of_the_clouds(result):
    figures = result[2]
    residuals = [cloud["mean"] for cloud in figures["clouds"].values()]
    assert residuals[1] == pytest.approx(NOISE * np.sqrt(2 / np.pi), rel=0.1)  # mean of |a normal distribution|
    assert figures["over_clouds"]["mean"] == pytest.approx({"mean": np.mean(residuals), "std": np.std(residuals)})
    scales = [cloud["similarity"]["scale"] for cloud in figures["clouds"].values()]
    assert scales[1] / scales[0] == pytest.approx(1.02, abs=0.004)
    assert figures["scales"]["scale_spread"] == pytest.approx(np.std(scales) / np.mean(scales))
    assert figures["unit"] == "cm"
    assert figures["display_max"] == pytest.approx(max(cloud["p95"] for cloud in figures["clouds"].values()))


def test_there_is_a_line_for_each_cloud_and_one_for_what_they_share(result):
    lines = result[1].splitlines()
    assert "residual [cm]" in lines[1]
    assert [line.split()[0] for line in lines[3:5]] == ["exact", "noisy"]
    figures = result[2]["clouds"]["noisy"]
    assert float(lines[4].split()[1]) == pytest.approx(figures["mean"], rel=1e-4)
    assert float(lines[4].split()[-1]) == pytest.approx(figures["similarity"]["scale"], rel=1e-4)
    spread = result[2]["scales"]["scale_spread"]
    assert any(line.startswith("scale ") and line.endswith(f"{spread:.2%}") for line in lines)
    assert "guessed" not in result[1]


def test_clouds_are_written_in_the_surfaces_frame_and_in_colours_of_their_distance(folder, result):
    out, _, figures = result
    written = trimesh.load(out / "noisy_residual.ply", process=False)
    moved = np.array(written.vertices)
    found = figures["clouds"]["noisy"]["similarity"]
    points = points_in(folder / "noisy.ply")
    expected = found["scale"] * points @ np.array(found["rotation"]).T + found["translation"]
    np.testing.assert_allclose(moved, expected, atol=1e-3)
    mesh = Surface.from_mesh(*bumpy_tube(), samples=8000)
    colors = colorize_error(mesh.closest(moved).distances[None], figures["display_max"])[0].astype(int)
    assert np.abs(np.array(written.visual.vertex_colors)[:, :3] - colors).max() <= 3  # positions are float32
    assert len(np.unique(colors, axis=0)) > 50


def test_there_is_a_picture_of_each_cloud_and_nothing_else(result):
    names = {path.name for path in result[0].iterdir()}
    pictures = {"exact.png", "noisy.png"}
    assert names == pictures | {"exact_residual.ply", "noisy_residual.ply", "registration.json"}
    for name in pictures:
        picture = cv2.imread(str(result[0] / name))
        assert picture.shape[1] > picture.shape[0] > 400
        assert len(np.unique(picture[::3, ::3].reshape(-1, 3), axis=0)) > 100


def test_without_a_start_it_is_guessed_and_that_is_said(folder):
    outcome = register(folder)
    assert outcome.code == 0, outcome.err
    assert "starts were guessed" in outcome.out
    figures = json.loads((folder / "out" / "registration.json").read_text())
    assert figures["start"] == "guessed from sizes and axes"
    assert figures["clouds"]["exact"]["similarity"]["scale"] == pytest.approx(TRUE.scale, rel=1e-3)


def test_a_scale_at_its_bound_is_told(folder):
    small = start_to_json(TRUE._replace(scale=0.7 * TRUE.scale))
    (folder / "small.json").write_text(json.dumps(small))
    outcome = register(folder, f"--start={folder / 'small.json'}", "--scale_bounds", "0.95", "1.05", "--display_max=2")
    assert outcome.code == 0, outcome.err
    assert "exact: its scale came to a bound of [0.95, 1.05]; give a better --start" in outcome.out
    figures = json.loads((folder / "out" / "registration.json").read_text())
    assert (figures["display_max"], figures["scale_bounds"]) == (2.0, [0.95, 1.05])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--trim=1"], "--trim 1.0: must lie in [0, 1)"),
        (["--scale_bounds", "1.2", "2"], "--scale_bounds 1.2 2.0: multiples"),
        (["--samples=0"], "--samples 0: must be at least 1"),
        (["--display_max=0"], "--display_max 0.0: must be positive"),
        (["--unit=µm"], "--unit 'µm': PLY files take plain ASCII"),
        (["--start=nowhere.json"], "there is no nowhere.json"),
        (["--surface=nowhere.stl"], "there is no file nowhere.stl"),
        (["--cloud", "a/frame.ply", "b/frame.ply"], "two files are called frame"),
    ],
)
def test_mistakes_end_in_one_line(folder, more, message):
    outcome = register(folder, *more)
    assert outcome.code == 2
    assert len(outcome.errors) == 1, outcome.err
    assert message in outcome.errors[0]


def test_a_cloud_without_a_size_is_named(folder):
    write_ply(folder / "dot.ply", np.ones((20, 3)), np.zeros((20, 3), np.uint8))
    outcome = register(folder, cloud="dot.ply")
    assert outcome.code == 2
    assert "dot cannot be registered to" in outcome.err
    assert "all points of the cloud are one point" in outcome.err


def test_a_picture_has_the_largest_distances_on_top_and_one_colour_range(tmp_path):
    """Half of the points lie far off the plane, and all are drawn at the same places of the picture."""
    rng = np.random.default_rng(0)
    plane = np.concatenate([rng.uniform(-10, 10, (MAX_DOTS // 40, 2)), np.zeros((MAX_DOTS // 40, 1))], axis=1)
    points = np.concatenate([plane, plane])
    distances = np.repeat([2.0, 0.0], len(plane))
    for name, order in (("first", slice(None)), ("last", slice(None, None, -1))):
        draw_registration(tmp_path / f"{name}.png", Surface(plane), points[order], distances[order], 1.0, "mm", "title")
        picture = cv2.imread(str(tmp_path / f"{name}.png"))[..., ::-1].astype(int)
        panel = picture[60:-60, : picture.shape[1] // 2]
        counts = [
            (np.abs(panel - colorize_error(np.array([[value]]), 1.0)[0, 0]).sum(axis=-1) < 12).sum()
            for value in (2.0, 0.0)
        ]
        assert counts[0] > 200
        assert counts[1] == 0, name

"""The command from frames to a folder that can be learned from, with its verdict."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.run_sfm import command
from data.run_sfm.command import main
from data.run_sfm.export import Model
from data.run_sfm.reconstruct import Solution
from data.sfm.clip import SfmClip
from data.sfm.published import read_published
from tests.data.run_sfm.sfm_scene import make_scene
from tests.data.sfm.tiny_clip import SIZE, make_clip, write_frame
from util.errors import UserError
from util.intrinsics import Intrinsics

VIEWS = 12


@pytest.fixture
def source(tmp_path) -> Path:
    """14 frames, of which SfM finds 12, and their camera."""
    for index in range(VIEWS + 2):
        write_frame(tmp_path / "scope" / f"img{100 + index}.png", index)
    K = make_clip().camera.K
    fields = {"width": SIZE[1], "height": SIZE[0], "fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
    (tmp_path / "scope" / "intrinsics.json").write_text(json.dumps(fields))
    return tmp_path / "scope"


def solution_of(clip: SfmClip, **changes: object) -> Solution:
    names = tuple(f"{number:08d}.png" for number in clip.numbers)
    errors = np.full(len(clip.points), 0.7)
    model = Model(names, clip.camera.K, clip.poses, clip.points, errors, clip.observations)
    sizes = ((len(names), len(clip.points)), (3, 17))
    solution = Solution(model, sizes, 1234.0, {"extract": 12.3, "match": 4.5, "map": 6.7}, "4.2.1")
    return replace(solution, **changes)


@pytest.fixture
def answer(monkeypatch):
    """What COLMAP would find, without it; returns the settings that it was asked with."""
    monkeypatch.setattr(command, "require_pycolmap", lambda: "4.2.1")

    def give(solution: Solution) -> list:
        asked = []

        def solve(frames, settings, work):
            asked.append(settings)
            return solution

        monkeypatch.setattr(command, "solve", solve)
        return asked

    return give


@pytest.fixture
def clip() -> SfmClip:
    """Its points are all seen in all views, and lie in them."""
    clip = make_clip(num_views=VIEWS, num_points=130)
    points = clip.points.copy()
    points[:, 0] = np.linspace(0.0, 1.2, 130)
    return replace(clip, points=points, observations=np.argwhere(np.ones((VIEWS, 130))).astype(np.int32))


@pytest.mark.slow
def test_a_rendered_clip_becomes_a_folder_that_can_be_learned_from(tmp_path, capsys):
    pytest.importorskip("pycolmap")
    scene = make_scene(tmp_path / "frames")
    code = main([str(scene.folder), "--out", str(tmp_path / "sets" / "clip"), "--min_frames", "8"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "8 of 8 registered (100%)" in out
    assert "VERDICT: fit for training" in out
    clip = read_published(tmp_path / "sets" / "clip")
    assert clip.numbers.tolist() == list(range(20, 28))
    assert all(frame is not None for frame in clip.frames)
    assert len(clip.points) > 300
    assert clip.track_lengths.min() >= 3
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == ["clip"]
    assert not (tmp_path / "sets" / "clip" / "colmap").exists()


def test_a_fit_result_has_the_published_layout_all_frame_numbers_and_code_0(tmp_path, source, answer, clip):
    answer(solution_of(clip))
    assert main([str(source), "--out", str(tmp_path / "out")]) == 0
    written = read_published(tmp_path / "out")
    np.testing.assert_array_equal(written.numbers, range(100, 112))
    np.testing.assert_allclose(written.points, clip.points)
    np.testing.assert_array_equal(written.observations, clip.observations)
    assert (tmp_path / "out" / "selected_indexes").read_text().split() == [str(number) for number in range(100, 114)]


def test_the_report_says_what_was_found_and_how(tmp_path, source, answer, clip, capsys):
    answer(solution_of(clip))
    main([str(source), "--out", str(tmp_path / "out"), "--seed", "3"])
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert report["fit"] is True
    assert report["measures"]["frames"] == 14
    assert report["measures"]["registered"] == 12
    assert report["registered_share"] == pytest.approx(12 / 14)
    assert report["models"] == [[12, 130], [3, 17]]
    assert report["seconds"] == {"extract": 12.3, "match": 4.5, "map": 6.7}
    assert report["colmap"] == "4.2.1"
    assert report["options"]["seed"] == 3
    assert report["camera"] == str(source / "intrinsics.json")
    out = capsys.readouterr().out
    for line in (
        "12 of 14 registered (86%)",
        "2; left out: 3 frames with 17 points",
        "50.00 px before",
        "50.00 px after",
    ):
        assert line in out


def test_an_unfit_result_is_kept_with_its_reasons_and_code_1(tmp_path, source, answer, clip, capsys):
    answer(solution_of(clip))
    assert main([str(source), "--out", str(tmp_path / "out"), "--min_points", "500"]) == 1
    out = capsys.readouterr().out
    assert "VERDICT: NOT fit for training\n  - 130 points, fewer than 500\n" in out
    assert len(read_published(tmp_path / "out").points) == 130
    assert "130 points, fewer than 500" in (tmp_path / "out" / "report" / "index.html").read_text()


def test_without_a_model_nothing_is_written_and_the_code_is_1(tmp_path, source, answer, clip, capsys):
    answer(solution_of(clip, model=None, sizes=()))
    assert main([str(source), "--out", str(tmp_path / "out")]) == 1
    assert "no two frames fit together: 14 frames with 1234 features" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["scope"]


def test_points_of_too_large_an_error_are_dropped(tmp_path, source, answer, clip, capsys):
    found = solution_of(clip)
    errors = np.where(np.arange(130) < 125, 5.0, 1.0)
    answer(replace(found, model=found.model._replace(errors=errors)))
    main([str(source), "--out", str(tmp_path / "out")])
    assert "5, of 130 found" in capsys.readouterr().out
    np.testing.assert_allclose(read_published(tmp_path / "out").points, clip.points[125:])


def test_where_hardly_a_point_is_left_nothing_is_written(tmp_path, source, answer, clip, capsys):
    found = solution_of(clip)
    answer(replace(found, model=found.model._replace(errors=np.full(130, 9.0))))
    assert main([str(source), "--out", str(tmp_path / "out")]) == 1
    assert "hardly a point" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_refined_focal_length_that_drifted_is_a_fault_and_the_warning_comes_first(
    tmp_path, source, answer, clip, capsys
):
    K = clip.camera.K * np.array([[3.0], [3.0], [1.0]])
    far = replace(clip, camera=Intrinsics(K, SIZE))
    asked = answer(solution_of(far))
    assert main([str(source), "--out", str(tmp_path / "out"), "--refine_intrinsics"]) == 1
    captured = capsys.readouterr()
    assert asked[0].refine_focal
    assert "warning: --refine_intrinsics" in captured.err
    assert re.search(r"50.00 px before .*, 150.00 px after", captured.out)
    assert "the focal length went from 50 to 150 px" in captured.out


def test_the_options_reach_colmap(tmp_path, source, answer, clip):
    asked = answer(solution_of(clip))
    given = "--matching sequential --overlap 7 --max_image_size 321 --peak_threshold 0.004 --init_angle 5 --seed 9"
    main([str(source), "--out", str(tmp_path / "out"), *given.split(), "--num_threads", "3"])
    settings = asked[0]
    assert (settings.matching, settings.overlap, settings.max_image_size) == ("sequential", 7, 321)
    assert (settings.peak_threshold, settings.init_angle, settings.seed) == (0.004, 5.0, 9)
    assert settings.num_threads == 3
    assert not settings.refine_focal


def test_an_earlier_result_is_replaced_only_with_overwrite(tmp_path, source, answer, clip):
    answer(solution_of(clip))
    args = [str(source), "--out", str(tmp_path / "out")]
    main(args)
    with pytest.raises(UserError, match="--overwrite"):
        main(args)
    (tmp_path / "out" / "note").write_text("of the old one")
    assert main([*args, "--overwrite"]) == 0
    assert not (tmp_path / "out" / "note").exists()


def test_an_error_half_way_leaves_the_earlier_result(tmp_path, source, answer, clip, monkeypatch):
    answer(solution_of(clip))
    args = [str(source), "--out", str(tmp_path / "out"), "--overwrite"]
    main(args)
    before = (tmp_path / "out" / "structure.ply").read_text()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(command, "write_report", fail)
    with pytest.raises(OSError, match="disk full"):
        main(args)
    assert (tmp_path / "out" / "structure.ply").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "scope"]


def test_the_page_opens_offline_and_its_pictures_are_there(tmp_path, source, answer, clip):
    answer(solution_of(clip))
    main([str(source), "--out", str(tmp_path / "out")])
    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            links.extend(value for name, value in attributes if name in ("src", "href") and value)

    page = tmp_path / "out" / "report" / "index.html"
    Links().feed(page.read_text())
    assert set(links) == {"points.jpg", "trajectory.png"}
    for name in ("points.jpg", "trajectory.png"):
        assert cv2.imread(str(page.with_name(name))).std() > 5


def test_too_few_frames_are_an_error(tmp_path, source, answer, clip):
    answer(solution_of(clip))
    with pytest.raises(UserError, match=r"gives 3 frames, fewer than --min_frames 10"):
        main([str(source), "--out", str(tmp_path / "out"), "--every", "5"])
    assert not (tmp_path / "out").exists()


def test_frames_without_a_camera_are_an_error(tmp_path, source, answer, clip):
    answer(solution_of(clip))
    (source / "intrinsics.json").unlink()
    with pytest.raises(UserError, match="SfM cannot find it"):
        main([str(source), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--fov", "90", "--focal", "100"],
        ["--fov", "90", "--intrinsics", "file"],
        ["--every", "0"],
        ["--every", "2", "--fps", "5"],
        ["--fps", "5"],  # of a folder
        ["--focal", "-3"],
        ["--focal", "nan"],
        ["--matching", "best"],
        ["--min_frames", "0"],
        ["--seed", "-1"],
        ["--max_error_px", "0"],
    ],
)
def test_contradictions_end_before_any_frame_is_read(tmp_path, source, wrong, capsys):
    with pytest.raises(SystemExit) as end:
        main([str(source), "--out", str(tmp_path / "out"), *wrong])
    assert end.value.code == 2
    assert not (tmp_path / "out").exists()

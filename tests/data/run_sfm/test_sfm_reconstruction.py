"""COLMAP on frames whose truth is known, and on the real clip beside the SfM that was published with it."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.run_sfm import reconstruct as colmap
from data.run_sfm.camera import find_lens
from data.run_sfm.export import good_points, to_clip
from data.run_sfm.frames import collect_frames
from data.run_sfm.reconstruct import Job, Settings, Solution, reconstruct, require_pycolmap
from data.sfm.clip import SfmClip, project_points
from data.sfm.published import read_published
from tests.conftest import save_picture
from tests.data.run_sfm.sfm_scene import K, Scene, make_scene
from util.errors import UserError
from util.intrinsics import Intrinsics

FOCAL, CENTRE = 677.171, (872.127, 471.918)  # of the real clip, 1920 x 1080
REAL_K = np.array([[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1]])


def run(source: Path, work: Path, settings: Settings, camera: Intrinsics | None = None, mask: Path | None = None):
    """The job of a folder of frames and its solution, and the clip, in this process."""
    out = work / "frames"
    out.mkdir(parents=True)

    def lens_of(size):
        lens = find_lens(source, size, intrinsics=None, fov_deg=None if camera is None else 90, focal_px=None)
        return lens if camera is None else replace(lens, camera=camera)

    frames, _ = collect_frames(source, out, lens_of, mask=mask)
    features = save_picture(work / "mask.png", np.where(frames.inner_view(), 255, 0))
    job = Job(out, tuple(file.name for file in frames.files), frames.camera, features, work)
    solution = reconstruct(job, settings)
    return job, solution, to_clip(good_points(solution.model, 4.0), frames)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def solved(scene, tmp_path_factory) -> tuple[Job, Solution, SfmClip]:
    """In several portions, as longer clips are."""
    pytest.importorskip("pycolmap")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(colmap, "FRAMES_AT_ONCE", 3)
        patch.setattr(colmap, "PAIRS_AT_ONCE", 5)
        return run(scene.folder, tmp_path_factory.mktemp("work"), Settings(matching="sequential", overlap=4))


def from_first(poses: np.ndarray) -> np.ndarray:
    """Poses (T, 4, 4) in the camera of the first one."""
    return np.linalg.inv(poses[0]) @ poses


def degrees_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    turns = Rotation.from_matrix(one[:, :3, :3]).inv() * Rotation.from_matrix(other[:, :3, :3])
    return np.degrees(turns.magnitude())


def test_the_rendered_cameras_come_out_up_to_one_similarity(scene, solved):
    clip = solved[2]
    assert clip.numbers.tolist() == list(range(20, 28))
    found, true = from_first(clip.poses), from_first(scene.poses)
    assert degrees_between(found, true).max() < 0.2
    path, true_path = found[:, :3, 3], true[:, :3, 3]
    scale = (path * true_path).sum() / (path**2).sum()
    assert np.abs(scale * path - true_path).max() < 0.01 * np.linalg.norm(true_path[-1])


def test_the_rendered_depth_comes_out_up_to_that_scale(scene, solved):
    clip = solved[2]
    ratios = []
    for view, point in clip.observations:
        in_camera = clip.in_camera(view, np.array([point]))
        column, row = np.rint(project_points(in_camera, clip.camera.K)[0]).astype(int)
        ratios.append(np.log(scene.depths[view, row, column] / in_camera[0, 2]))
    assert len(ratios) > 1000
    assert np.median(np.abs(ratios - np.median(ratios))) < 0.005


def test_colmap_is_given_a_centre_that_is_half_a_pixel_on_and_we_get_ours_back(solved):
    pycolmap = pytest.importorskip("pycolmap")
    job, solution, _ = solved
    with pycolmap.Database.open(job.work / "database.db") as database:
        cameras = [camera.params for camera in database.read_all_cameras()]
    np.testing.assert_allclose(cameras, [[240.0, 232.0, 148.5, 96.5]])  # one camera for all frames
    np.testing.assert_allclose(solution.model.K, K)


def test_no_feature_lies_where_the_mask_is_0(scene, tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    mask = np.zeros((200, 280))
    mask[:, 100:] = 255
    job, _, _ = run(scene.folder, tmp_path, Settings(overlap=2), mask=save_picture(tmp_path / "given.png", mask))
    with pycolmap.Database.open(job.work / "database.db") as database:
        places = np.concatenate([database.read_keypoints(one.image_id)[:, :2] for one in database.read_all_images()])
    assert len(places) > 1000
    assert places[:, 0].min() >= 103  # the rim of 3 px is masked, too


def test_of_two_scenes_the_larger_model_is_kept_and_both_are_told_of(tmp_path):
    pytest.importorskip("pycolmap")
    make_scene(tmp_path / "both", count=4, first=0)
    make_scene(tmp_path / "both", count=6, first=20, seed=5)
    _, solution, clip = run(tmp_path / "both", tmp_path / "work", Settings())
    assert clip.numbers.tolist() == list(range(20, 26))
    assert [frames for frames, _ in solution.sizes] == [6, 4]
    assert solution.sizes[0][1] == len(solution.model.points)


def test_nothing_but_noise_gives_no_model(tmp_path):
    pytest.importorskip("pycolmap")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (100, 140, 3))
        save_picture(tmp_path / f"{number}.png", noise)
    mask = save_picture(tmp_path / "work" / "mask.png", np.full((100, 140), 255))
    job = Job(tmp_path, ("0.png", "1.png", "2.png"), Intrinsics(K, (100, 140)), mask, tmp_path / "work")
    solution = reconstruct(job, Settings())
    assert solution.model is None
    assert solution.sizes == ()


@pytest.mark.slow
def test_the_real_clip_agrees_with_the_published_sfm(shared_data, tmp_path):
    pytest.importorskip("pycolmap")
    folder = shared_data / "sinus_sfm"
    given = read_published(folder)
    camera = Intrinsics(REAL_K, (1080, 1920))
    quarter = Settings(max_image_size=480, peak_threshold=0.001, num_threads=2)
    _, solution, clip = run(folder, tmp_path, quarter, camera, folder / "undistorted_mask.bmp")
    assert clip.numbers.tolist() == list(range(4584, 4609))
    assert 700 <= len(solution.model.points) <= 1400
    assert np.median(degrees_between(from_first(clip.poses), from_first(given.poses[:25]))) < 2
    ratios = np.array(depth_ratios(clip, given))
    assert len(ratios) > 500
    assert np.median(np.abs(ratios - np.median(ratios))) < 0.015


def depth_ratios(clip: SfmClip, given: SfmClip, within_px: float = 3.0) -> list[float]:
    """ln of the depths of points of both that project to within some pixels of each other, over all views."""
    ratios = []
    for view in range(len(clip)):
        sides = []
        for one in (clip, given):
            number = int(np.flatnonzero(one.numbers == clip.numbers[view])[0])
            in_camera = one.in_camera(number, one.observations[one.observations[:, 0] == number, 1])
            sides.append((project_points(in_camera, one.camera.K), in_camera[:, 2]))
        (ours, our_depth), (theirs, their_depth) = sides
        apart = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
        nearest = apart.argmin(axis=0)
        near = apart.min(axis=0) < within_px
        ratios += np.log(their_depth[near] / our_depth[nearest[near]]).tolist()
    return ratios


def test_pairs_are_all_of_a_short_clip_and_neighbours_of_a_long_one():
    assert Settings().pairs(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert Settings(matching="sequential", overlap=2).pairs(4) == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]
    assert len(Settings().pairs(100)) == 100 * 99 / 2
    assert len(Settings(overlap=12).pairs(101)) == 12 * 101 - 12 * 13 / 2
    assert len(Settings(matching="exhaustive").pairs(101)) == 101 * 100 / 2


@pytest.mark.parametrize(
    ("size", "given", "expected"),
    [((1080, 1920), None, 960), ((540, 960), None, 640), ((480, 270), None, 480), ((1080, 1920), 333, 333)],
)
def test_features_are_sought_at_half_size_unless_that_is_small(size, given, expected):
    assert Settings(max_image_size=given).feature_size(size) == expected


def test_a_missing_pycolmap_is_an_error_with_the_command_that_installs_it(monkeypatch):
    def missing(name):
        raise colmap.PackageNotFoundError(name)

    monkeypatch.setattr(colmap, "version", missing)
    with pytest.raises(UserError, match=r"pip install -r requirements-sfm\.txt"):
        require_pycolmap()


def test_an_old_pycolmap_is_an_error(monkeypatch):
    monkeypatch.setattr(colmap, "version", lambda name: "3.13.0")
    with pytest.raises(UserError, match=r"pycolmap 3\.13\.0 is too old"):
        require_pycolmap()


def test_pycolmap_is_imported_in_one_place_and_after_zlib():
    package = Path(colmap.__file__).parent
    importing = [file.name for file in package.glob("*.py") if "import pycolmap" in file.read_text(encoding="utf-8")]
    assert importing == ["reconstruct.py"]
    source = (package / "reconstruct.py").read_text(encoding="utf-8")
    assert source.index("import zlib") < source.index("    import pycolmap")
    assert "pycolmap" not in vars(colmap)


def test_a_solution_can_leave_the_process_that_made_it(solved):
    again = pickle.loads(pickle.dumps(solved[1]))
    assert b"pycolmap" not in pickle.dumps(solved[1].model)
    np.testing.assert_array_equal(again.model.poses, solved[1].model.poses)
    assert (again.sizes, again.colmap) == (solved[1].sizes, solved[1].colmap)

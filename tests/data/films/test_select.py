"""Faults put into a rendered video at known places are found there, and hardly anywhere else."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.films.chooser import ClipChooser, MotionLimits, Place
from data.films.film import measure_film
from data.films.frames import FilmFrame
from data.films.look import study_film
from data.films.measures import Measurer, SmallFrame
from data.films.select import Reason, select
from data.image_files import list_images, read_rgb
from data.phantom.camera import square_intrinsics
from data.phantom.plan import plan_tasks
from data.phantom.render import render_tasks
from data.view_mask import find_view, largest_part
from tests.data.films.film_files import encode_film

SIZE = 128
ENOUGH = 0.9  # of precision and of recall


@pytest.fixture(scope="session")
def colons(tmp_path_factory):
    """Frames of rendered clips, as a real endoscope would give them: uint8 (H, W, 3)."""
    root = tmp_path_factory.mktemp("phantom")
    tasks = [task for task in plan_tasks(frames=320, seed=3) if task.split == "video_train"]
    render_tasks(root, tasks, square_intrinsics(SIZE, 110.0), workers=1)
    return [read_clip(clip) for clip in sorted((root / "video_train").iterdir())]


def read_clip(folder: Path) -> list[np.ndarray]:
    return [(read_rgb(file) * 255).astype(np.uint8) for file in list_images(folder)]


def measured(frames):
    view = largest_part(find_view(frame.astype(np.float32) / 255 for frame in frames))
    measure = Measurer(view)
    small = [SmallFrame.of(FilmFrame(number, number / 25, frame)) for number, frame in enumerate(frames)]
    return [measure(before, frame) for before, frame in zip([None, *small[:-1]], small, strict=True)]


def smeared(frame, length=11):
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    return cv2.filter2D(frame, -1, kernel)


def noisy(frame, rng):
    return (frame + rng.normal(0, 2, frame.shape)).clip(0, 255).astype(np.uint8)


FAULTS = {
    Reason.DARK: lambda frame, rng: noisy(frame * 0.08, rng),
    Reason.BURNT: lambda frame, rng: noisy(np.minimum(frame.astype(float) * 6, 255), rng),
    Reason.RED: lambda frame, rng: noisy(np.full_like(frame, (190, 40, 30)), rng),
    Reason.PLAIN: lambda frame, rng: noisy(cv2.GaussianBlur(frame, (0, 0), 20) * 0.2 + 110, rng),
    Reason.BLURRED: lambda frame, rng: smeared(frame),
}


OCTAGON = np.array([[36, 0], [92, 0], [127, 36], [127, 92], [92, 127], [36, 127], [0, 92], [0, 36]])
FREEZE = 3  # frames


def spoiled(clips, rng):
    """One film of all clips with faults in it: the film, where which fault is, and where clips begin."""
    film, where, begins = [], {}, []
    for clip in clips:
        begins.append(len(film))
        places = rng.permutation(np.arange(3, len(clip) - 3, 2))[: len(FAULTS)]
        kinds = dict(zip(places, FAULTS, strict=False))
        frozen = rng.choice([index for index in range(2, len(clip)) if not {index, index - 1} & set(places)])
        for index, frame in enumerate(clip):
            reason = kinds.get(index)
            if reason is not None:
                where[len(film)] = reason
                frame = FAULTS[reason](frame, rng)
            film.append(frame)
            if index == frozen:
                where |= dict.fromkeys(range(len(film), len(film) + FREEZE), Reason.DUPLICATE)
                film += [frame] * FREEZE
    corners = cv2.fillPoly(np.zeros((SIZE, SIZE, 1), np.uint8), [OCTAGON], 1)
    return [np.where(corners, frame, 6).astype(np.uint8) for frame in film], where, begins[1:]


@pytest.fixture(scope="session", params=["frames", "compressed"])
def examined(request, colons, tmp_path_factory):
    """What is found in the spoiled film, and what is there; with black corners, and as a file of a film too."""
    film, where, begins = spoiled(colons, np.random.default_rng(0))
    if request.param == "compressed":
        file = encode_film(tmp_path_factory.mktemp("film") / "film.mp4", film, crf=18)
        look = study_film(file)
        with ThreadPoolExecutor(1) as pool:
            selection = select(measure_film(file, look, pool, 2, lambda count: None))
    else:
        selection = select(measured(film))
    assert len(selection.reasons) == len(film)
    return selection.reasons, where, selection.cuts, begins


def precision_and_recall(found, true):
    hits = len(set(found) & set(true))
    return hits / len(set(found)), hits / len(set(true))


@pytest.mark.parametrize("reason", Reason)
def test_each_fault_is_found_where_it_is(examined, reason):
    found, where, _, _ = examined
    places = [index for index, one in enumerate(found) if one is reason]
    true = [index for index, one in where.items() if one is reason]
    assert len(true) >= 5
    precision, recall = precision_and_recall(places, true)
    assert (precision >= ENOUGH, recall >= ENOUGH) == (True, True), (precision, recall, sorted(places), sorted(true))


def test_scenes_begin_where_clips_do(examined):
    _, _, found, begins = examined
    precision, recall = precision_and_recall(found, begins)
    assert (precision >= ENOUGH, recall >= ENOUGH) == (True, True), (found, begins)


MOTION = MotionLimits(min_motion=0.006, max_motion=0.05)
SPEEDS = {"normal": 2.0, "slow": 0.3, "fast": 14.0, "still": 0.0}  # px a frame; the diagonal is 181 px
SECTIONS = ("normal", "slow", "normal", "fast", "normal", "still", "slow", "normal")
SECTION = 24  # frames


def panned(colons):
    """A rendered picture that the camera moves across at known speeds, and where it is in each frame [px]."""
    large = cv2.resize(colons[0][0], None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
    steps = np.concatenate([np.full(SECTION, SPEEDS[name]) for name in SECTIONS])
    track = np.abs((100 + np.cumsum(steps)) % 800 - 400)  # there and back again, within the picture
    frames = [
        cv2.warpAffine(large, np.float32([[1, 0, -60 - at], [0, 1, -250]]), (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        for at in track
    ]
    return frames, track


def taken(frames, motion):
    """Numbers of the frames that clips are made of, and of those that one begins with."""
    chooser = ClipChooser([range(len(frames))], motion, MOTION)
    steps = [chooser(number, frame) for number, frame in enumerate(frames)]
    return (
        {number for number, step in enumerate(steps) if step.place is not Place.BETWEEN},
        {number for number, step in enumerate(steps) if step.place is Place.FIRST},
    )


def test_frames_are_taken_as_by_the_motion_that_was_put_in(colons):
    frames, track = panned(colons)
    small = [SmallFrame.of(FilmFrame(number, number / 25, frame)) for number, frame in enumerate(frames)]
    found = taken(small, Measurer(np.ones((SIZE, SIZE), bool)).motion)
    true = taken(track, lambda one, other: abs(one - other) / np.hypot(SIZE, SIZE))
    assert 60 < len(true[0]) < len(frames) - 40  # of the slow and still parts most are left out
    assert len(true[1]) > SECTION  # each frame of the fast part begins a clip, which is too short then
    for places, truth in zip(found, true, strict=True):
        precision, recall = precision_and_recall(places, truth)
        assert (precision >= ENOUGH, recall >= ENOUGH) == (True, True), (precision, recall, places ^ truth)


def test_good_video_is_kept(colons):
    for clip in colons:
        selection = select(measured(clip))
        assert sum(reason is not None for reason in selection.reasons) <= 0.1 * len(clip)
        assert selection.cuts == []


@pytest.mark.parametrize(
    ("folder", "dropped"), [("colonoscopy_ldpolyp", set()), ("colonoscopy_polyp480", {*range(2, 8), *range(24, 28)})]
)
def test_real_clips_have_no_cut_and_lose_what_is_smeared(shared_data, folder, dropped):
    """Of the second one these frames, in which the camera jumps, are smeared to the eye too."""
    selection = select(measured(read_clip(shared_data / folder)))
    assert {index for index, reason in enumerate(selection.reasons) if reason is not None} == dropped
    assert selection.cuts == []


def test_a_cut_between_two_real_films_is_found(shared_data):
    first, second = (read_clip(shared_data / f"colonoscopy_{name}")[:20] for name in ("ldpolyp", "polyp480"))
    height, width = first[0].shape[:2]
    measures = measured(first + [cv2.resize(frame, (width, height)) for frame in second])
    assert select(measures).cuts == [20]

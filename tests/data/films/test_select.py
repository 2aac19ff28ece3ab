"""Faults put into a rendered video at known places are found there, and hardly anywhere else."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.films.frames import FilmFrame
from data.films.measures import Measurer, SmallFrame
from data.films.select import Reason, select
from data.image_files import list_images, read_rgb
from data.phantom.camera import square_intrinsics
from data.phantom.plan import plan_tasks
from data.phantom.render import render_tasks
from data.view_mask import find_view, largest_part

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


def spoiled(clips, rng):
    """One film of all clips with faults in it: the film, where which fault is, and where clips begin."""
    film, where, begins = [], {}, []
    for clip in clips:
        begins.append(len(film))
        places = rng.permutation(np.arange(3, len(clip) - 3, 2))[: len(FAULTS) + 1]
        kinds = dict(zip(places, [*FAULTS, Reason.DUPLICATE], strict=False))
        for index, frame in enumerate(clip):
            reason = kinds.get(index)
            if reason is Reason.DUPLICATE:
                frame = film[-1]
            elif reason is not None:
                frame = FAULTS[reason](frame, rng)
            if reason is not None:
                where[len(film)] = reason
            film.append(frame)
    return film, where, begins[1:]


@pytest.fixture(scope="session")
def examined(colons):
    """What is found in the spoiled film, and what is there."""
    film, where, begins = spoiled(colons, np.random.default_rng(0))
    selection = select(measured(film))
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


def test_good_video_is_kept(colons):
    for clip in colons:
        selection = select(measured(clip))
        assert sum(reason is not None for reason in selection.reasons) <= 0.1 * len(clip)
        assert selection.cuts == []


@pytest.mark.parametrize(("folder", "dropped"), [("colonoscopy_ldpolyp", set()), ("colonoscopy_polyp480", {26, 27})])
def test_real_clips_have_no_cut_and_lose_what_is_smeared(shared_data, folder, dropped):
    """Of the second one frames 26 and 27, in which the camera jumps, are smeared to the eye too."""
    selection = select(measured(read_clip(shared_data / folder)))
    assert {index for index, reason in enumerate(selection.reasons) if reason is not None} == dropped
    assert selection.cuts == []


def test_a_cut_between_two_real_films_is_found(shared_data):
    first, second = (read_clip(shared_data / f"colonoscopy_{name}")[:20] for name in ("ldpolyp", "polyp480"))
    height, width = first[0].shape[:2]
    measures = measured(first + [cv2.resize(frame, (width, height)) for frame in second])
    assert select(measures).cuts == [20]

"""From films to clips: what is cropped, kept and written, and that it is done once."""

import csv
import json
import os
import re
import shutil
import signal
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from filelock import FileLock

from data import prepare_video
from data.clips import find_clips
from data.clips_dataset import ClipsDataset
from data.films import film as film_module
from data.films import writer as writer_module
from data.prepare_video import Outcome, main, prepare_in_processes
from data.view_mask import resize_view
from options.train_options import TrainOptions
from tests.data.films.film_files import encode_film
from util.errors import UserError
from util.video_files import VideoWriter

SIZE = (96, 128)
OCTAGON = np.array([[30, 4], [98, 4], [124, 30], [124, 66], [98, 92], [30, 92], [4, 66], [4, 30]])


def texture(seed):
    """A smooth picture, larger than the frames."""
    noise = np.random.default_rng(seed).random((220, 400, 3)).astype(np.float32)
    picture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1), None, 50, 240, cv2.NORM_MINMAX)
    return picture * np.array([1.0, 0.75, 0.65], np.float32)


def frame(picture, x, y=40):
    """What the camera sees at a place, through an octagon."""
    mask = cv2.fillPoly(np.zeros(SIZE, np.uint8), [OCTAGON], 1)[..., None]
    return (picture[y : y + SIZE[0], x : x + SIZE[1]] * mask + 6 * (1 - mask)).astype(np.uint8)


def moving(seed, count, step=3):
    return [frame(texture(seed), 10 + step * index) for index in range(count)]


def write_film(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 25.0) as video:
        for one in frames:
            video.write(one)
    return path


@pytest.fixture
def film(tmp_path):
    """Two scenes with something dark between them."""
    black = [np.full((*SIZE, 3), 6, np.uint8)] * 4
    return write_film(tmp_path / "films" / "one.avi", moving(0, 20) + black + moving(1, 16))


@pytest.fixture
def run(tmp_path, capsys):
    def run(*args, out="video_train"):
        code = main([*map(str, args), f"--out={tmp_path / out}", "--load_size=32", "--workers=1"])
        return code, capsys.readouterr().out, tmp_path / out

    return run


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_film_becomes_the_clips_of_its_scenes_without_border_and_dark_frames(run, film):
    code, said, out = run(film)
    assert code == 0
    assert "one.avi: 36 of 40 frames in 2 clips (4 too dark)" in said
    clips = find_clips(out)
    assert [(clip.name, len(clip)) for clip in clips] == [("one_000", 20), ("one_001", 16)]
    first = clips[0].read(0, 1)[0]
    assert first.min() > 30 / 255  # nothing of the border
    assert first[..., 0].size > 0.6 * cv2.contourArea(OCTAGON)


def test_manifest_says_where_each_frame_is_from(run, film):
    _, _, out = run(film)
    rows = list(csv.DictReader((out / "manifest.csv").open()))
    assert [row["file"] for row in rows[:2]] == ["one_000/000000.png", "one_000/000001.png"]
    assert [int(row["frame"]) for row in rows] == [*range(20), *range(24, 40)]
    assert float(rows[20]["time_s"]) == pytest.approx(24 / 25)
    assert all((out / row["file"]).is_file() for row in rows)
    assert (rows[0]["motion"], rows[0]["source"], rows[0]["gap"]) == ("", "one.avi", "")
    assert {row["gap"] for row in rows[1:20]} == {"1"}
    # 3 px of a diagonal of 160 px
    assert np.median([float(row["motion"]) for row in rows[1:20]]) == pytest.approx(3 / 160, rel=0.2)


def test_contact_sheet_shows_each_verdict_with_pictures_that_are_there(run, film):
    _, _, out = run(film)
    sheet = out.with_name("sheet_video_train")
    page = (sheet / "index.html").read_text()
    assert "too dark (4)" in page
    assert "<h3>kept (36)</h3>" in page
    pictures = list((sheet / "frames").iterdir())
    assert len(pictures) == 12 + 4 + 1
    assert all(f"frames/{picture.name}" in page for picture in pictures)


def test_camera_is_cropped_with_its_frames(run, film, tmp_path):
    fields = {"width": 256, "height": 192, "fx": 200, "fy": 200, "cx": 127.5, "cy": 95.5}  # of twice the size
    (tmp_path / "camera.json").write_text(json.dumps(fields))
    _, _, out = run(film, f"--intrinsics={tmp_path / 'camera.json'}")
    camera = json.loads((out / "one_000" / "intrinsics.json").read_text())
    top, bottom, left, right = json.loads((out / ".prepare" / "one.json").read_text())["crop"]
    assert (camera["width"], camera["height"]) == (right - left, bottom - top)
    assert (camera["fx"], camera["cx"], camera["cy"]) == pytest.approx((100, 63.5 - left, 47.5 - top))


def test_frames_are_scaled_down_with_their_camera(run, film, tmp_path):
    fields = {"width": 128, "height": 96, "fx": 100, "fy": 100, "cx": 63.5, "cy": 47.5}
    (tmp_path / "camera.json").write_text(json.dumps(fields))
    _, _, out = run(film, f"--intrinsics={tmp_path / 'camera.json'}", "--short_side=40")
    height, width = find_clips(out)[0].read(0, 1)[0].shape[:2]
    top, bottom, left, right = json.loads((out / ".prepare" / "one.json").read_text())["crop"]
    assert min(height, width) == 40
    camera = json.loads((out / "one_000" / "intrinsics.json").read_text())
    assert (camera["height"], camera["width"]) == (height, width)
    # The ray through the centre of a pixel stays what it was.
    scale = width / (right - left)
    assert camera["fx"] == pytest.approx(100 * scale)
    assert camera["cx"] == pytest.approx((63.5 - left + 0.5) * scale - 0.5)


def test_slow_films_are_thinned_out_and_still_ones_give_no_clip(run, tmp_path):
    slow = write_film(tmp_path / "slow.avi", moving(2, 60, step=1))
    still = write_film(tmp_path / "still.avi", [frame(texture(3), 10)] * 20)
    _, said, out = run(slow, still, "--min_motion=0.01")
    assert [clip.name for clip in find_clips(out)] == ["slow_000"]
    rows = list(csv.DictReader((out / "manifest.csv").open()))
    # 1 px of a diagonal of 160 px a frame: 2 frames are enough
    assert {row["gap"] for row in rows[1:]} == {"2"}
    assert all(0.01 <= float(row["motion"]) <= 0.05 for row in rows[1:])
    assert "still.avi: 0 of 20 frames in 0 clips" in said


def test_interlaced_films_become_pictures_of_one_moment(run, tmp_path, save):
    step = 6
    moments = moving(5, 41, step=step // 2)  # a frame's odd rows are of the moment after
    for number in range(20):
        woven = moments[2 * number].copy()
        woven[1::2] = moments[2 * number + 1][1::2]
        save(tmp_path / "woven" / f"{number:02d}.png", woven)
    _, said, out = run(tmp_path / "woven")
    assert "(none dropped, interlaced)" in said
    clip = find_clips(out)[0]
    top, bottom, left, right = json.loads((out / ".prepare" / "woven.json").read_text())["crop"]
    for index in range(3):
        truth = moments[2 * int(clip.files[index].stem)][top:bottom, left:right] / 255
        assert np.abs(clip.read(index, 1)[0] - truth).mean() < 0.02


def test_texts_over_the_picture_are_left_out_of_the_masks_of_flow(run, tmp_path, save):
    box = (slice(30, 44), slice(50, 90))
    for number, one in enumerate(moving(6, 60, step=4)):
        one[box] = (20, 60, 230)
        save(tmp_path / "marked" / f"{number:02d}.png", one)
    _, said, out = run(tmp_path / "marked")
    assert "% overlays" in said
    clip = find_clips(out)[0]
    top, bottom, left, right = json.loads((out / ".prepare" / "marked.json").read_text())["crop"]
    seen = np.ones(SIZE, bool)
    seen[box] = False
    assert not clip.view()[~seen[top:bottom, left:right]].any()
    assert clip.view().mean() > 0.7 * seen[top:bottom, left:right].mean()
    masks = np.load(next((out.parent / "flow_cache").rglob("mask.npy")))
    where = resize_view(clip.view(), masks.shape[-2:])
    assert not masks[..., ~where].any()
    assert masks[..., where].mean() > 0.5


def test_flow_is_where_training_looks_for_it(run, film):
    _, _, out = run(film)
    folders = {path.parent.name for path in (out.parent / "flow_cache").rglob("flow.npy")}
    assert folders == {"one_000", "one_001"}
    opt = TrainOptions().parse([f"--dataroot={out.parent}", "--load_size=32", "--gpu_ids=-1", "--name=x"])
    computed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data.flow_cache.flow_both_ways", lambda *args: computed.append(args))
        assert len(ClipsDataset.from_options(opt)) == 20 + 16 - 4
    assert computed == []


def test_flow_can_be_left_to_the_training(run, film):
    _, _, out = run(film, "--flow=none")
    assert not (out.parent / "flow_cache").exists()


def test_several_films_are_prepared_in_processes_as_in_one(film, tmp_path, capsys):
    other = write_film(tmp_path / "films" / "two.avi", moving(7, 12))
    broken = tmp_path / "films" / "broken.mp4"
    broken.write_bytes(b"no film")
    for workers in (1, 3):
        inputs = map(str, (film, broken, other))
        assert main([*inputs, f"--out={tmp_path / f'by{workers}'}", f"--workers={workers}", "--flow=none"]) == 1
    assert contents(tmp_path / "by1") == contents(tmp_path / "by3")
    said = capsys.readouterr().out
    assert said.count("two.avi: 12 of 12 frames in 1 clip (none dropped)") == 2
    assert said.count(f"not prepared: {broken} cannot be read as a film") == 2


def test_a_broken_film_is_told_of_and_the_rest_goes_on(run, film, tmp_path):
    broken = tmp_path / "films" / "broken.mp4"
    broken.write_bytes(b"no film")
    (tmp_path / "films" / "empty").mkdir()
    code, said, out = run(broken, film, tmp_path / "films" / "empty")
    assert code == 1
    assert len(find_clips(out)) == 2
    assert f"not prepared: {broken} cannot be read as a film" in said
    assert "empty holds no frames" in said


def test_a_film_whose_end_is_lost_gives_what_is_there(run, film):
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 3 // 4])
    code, said, _ = run(film)
    assert code == 1
    assert re.search(r"one\.avi: \d+ of \d+ frames in \d clips? \(DAMAGED: \d+ of 40 frames are there", said)


def test_a_hole_in_a_film_is_told_of_and_ends_a_clip(run, tmp_path):
    film = encode_film(tmp_path / "films" / "hole.mkv", moving(8, 60, step=2), gop=10, crf=18)
    content = bytearray(film.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    film.write_bytes(content)
    code, said, out = run(film)
    assert code == 1
    assert "DAMAGED" in said
    rows = list(csv.DictReader((out / "manifest.csv").open()))
    for clip in {row["clip"] for row in rows}:
        times = [float(row["time_s"]) for row in rows if row["clip"] == clip]
        assert np.diff(times).max() < 9 / 25  # no more than --max_gap


def test_what_a_recorder_shows_now_and_then_does_not_hide_the_view(run, tmp_path, save):
    plain = moving(9, 60)
    menu = np.full((*SIZE, 3), (0, 0, 255), np.uint8)
    for name, shown in (("plain", []), ("menus", [0, 1, 2, 30, 31, 59])):
        for number, one in enumerate(plain):
            save(tmp_path / name / f"{number:02d}.png", menu if number in shown else one)
    run(tmp_path / "plain", tmp_path / "menus")
    crops = [
        json.loads((tmp_path / "video_train" / ".prepare" / f"{name}.json").read_text())["crop"]
        for name in ("plain", "menus")
    ]
    assert crops[0] == crops[1]


def test_a_patients_name_in_another_encoding_is_no_obstacle(run, tmp_path):
    film = tmp_path / "films" / "named.avi"
    film.parent.mkdir()
    with av.open(str(film), "w") as container:
        container.metadata["title"] = "Pat. MUELLER"
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuvj420p"
        for one in moving(10, 12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
        container.mux(stream.encode())
    content = film.read_bytes()
    assert b"MUELLER" in content
    film.write_bytes(content.replace(b"MUELLER", b"M\xfcLLERS"))
    code, said, _ = run(film)
    assert code == 0
    assert "named.avi: 12 of 12 frames" in said


@pytest.mark.parametrize("size", [(12, 200), (20, 20)])
def test_frames_that_are_too_small_are_told_of(run, tmp_path, save, size):
    rng = np.random.default_rng(0)
    for number in range(4):
        save(tmp_path / "small" / f"{number}.png", rng.integers(0, 255, (*size, 3)))
    code, said, _ = run(tmp_path / "small")
    assert code == 1
    assert f"frames of {size[0]}x{size[1]} pixels are too small" in said


def test_intrinsics_of_another_shape_are_refused(run, film, tmp_path):
    fields = {"width": 100, "height": 100, "fx": 50, "fy": 50, "cx": 50, "cy": 50}
    (tmp_path / "camera.json").write_text(json.dumps(fields))
    code, said, _ = run(film, f"--intrinsics={tmp_path / 'camera.json'}")
    assert code == 1
    assert "is 96x128 pixels, and --intrinsics of 100x100 do not fit" in said


# What is there already


def test_clips_of_another_film_of_the_same_name_stay(run, film, tmp_path):
    _, _, out = run(film)
    before = contents(out)
    other = write_film(tmp_path / "elsewhere" / "one.avi", moving(11, 12))
    code, said, _ = run(other)
    assert code == 1
    assert f"the clips one_... in {out} are those of {film}" in said
    assert contents(out) == before


def test_folders_that_were_not_made_by_this_stay(run, film, save, tmp_path):
    save(tmp_path / "video_train" / "one_007" / "mine.png", np.zeros((8, 8, 3)))
    code, said, out = run(film)
    assert code == 1
    assert "one_007 is in the way of a clip, and was not made by this" in said
    assert [path.name for path in (out / "one_007").iterdir()] == ["mine.png"]


def test_a_film_that_fails_keeps_the_clips_of_before(run, film, monkeypatch):
    _, _, out = run(film)
    before = contents(out)
    film.write_bytes(b"no film any more")
    code, _, _ = run(film)
    assert code == 1
    assert contents(out) == before


def test_a_film_that_is_still_being_copied_is_not_taken_for_finished(run, film, monkeypatch):
    keys = iter(["before", "after"])
    monkeypatch.setattr(film_module.Settings, "key", lambda settings, path: next(keys))
    code, said, out = run(film)
    assert code == 1
    assert "one.avi changed while it was read" in said
    assert not list(out.glob("one_*"))


def test_clips_that_somebody_removed_are_not_in_the_manifest(run, film, tmp_path):
    _, _, out = run(film)
    shutil.rmtree(out / "one_000")
    shutil.rmtree(out.with_name("sheet_video_train"))
    run(write_film(tmp_path / "films" / "two.avi", moving(7, 12)))
    assert {row["clip"] for row in csv.DictReader((out / "manifest.csv").open())} == {"one_001", "two_000"}


def test_half_written_files_of_a_killed_run_are_removed(run, film):
    _, _, out = run(film)
    whole = contents(out)
    for left in (out / ".prepare" / ".one.123.partial.json", out / ".manifest.123.partial.csv"):
        left.touch()
    run(film)
    assert contents(out) == whole


def test_two_at_once_in_one_folder_are_one_too_many(run, film, tmp_path):
    (tmp_path / "video_train" / ".prepare").mkdir(parents=True)
    lock = FileLock(tmp_path / "video_train" / ".prepare" / "lock")
    with lock, pytest.raises(UserError, match="films are being prepared into .* by another process"):
        run(film)


# Processes


def prepare_or_die(film, advance):
    if film.name == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    advance(3)
    return {"name": film.name}


def test_a_film_that_its_process_dies_of_does_not_take_the_others_with_it():
    outcome, told = Outcome(), []
    films = [Path(name) for name in ("good", "bad", "other", "last")]
    prepare_in_processes(films, prepare_or_die, 2, told.append, outcome)
    assert {film.name for film in outcome.states} == {"good", "other", "last"}
    assert outcome.faults == {Path("bad"): "bad: the process that worked on it was killed; is there enough memory?"}


def test_folders_of_frames_are_films_too(run, tmp_path, save):
    for number, one in enumerate(moving(4, 8)):
        save(tmp_path / "frames" / f"{number}.png", one)
    _, said, out = run(tmp_path / "frames")
    assert "frames: 8 of 8 frames in 1 clip (none dropped)" in said
    np.testing.assert_allclose(find_clips(out)[0].read(0, 1)[0].mean(), 0.5, atol=0.2)


# Once, and again


def test_films_can_come_one_after_the_other(run, film, tmp_path):
    together = write_film(tmp_path / "films" / "two.avi", moving(7, 12))
    _, _, both = run(film, together, out="both")
    run(film)
    _, said, out = run(together)
    assert "one.avi" not in said  # it was not asked for
    assert (out / "manifest.csv").read_bytes() == (both / "manifest.csv").read_bytes()
    assert [clip.name for clip in find_clips(out)] == ["one_000", "one_001", "two_000"]
    pages = [(folder.with_name(f"sheet_{folder.name}") / "index.html").read_text() for folder in (out, both)]
    assert pages[0].count("<h2>") == pages[1].count("<h2>") == 2


def test_clips_that_were_removed_are_made_again(run, film):
    _, _, out = run(film)
    whole = contents(out)
    shutil.rmtree(out / "one_001")
    run(film)
    assert contents(out) == whole


def test_finished_films_are_not_prepared_again_and_changed_settings_are(run, film, monkeypatch):
    _, said, out = run(film)
    before, measured = contents(out), []
    original = film_module.measure_film
    monkeypatch.setattr(film_module, "measure_film", lambda *args: measured.append(1) or original(*args))
    assert run(film)[1] == said
    assert (measured, contents(out)) == ([], before)
    run(film, "--clip_length=10")
    assert measured == [1]
    assert sorted(clip.name for clip in find_clips(out)) == ["one_000", "one_001", "one_002", "one_003"]


@pytest.mark.parametrize(
    ("module", "broken_at", "count"),
    [
        (writer_module, "write_picture", 1),
        (writer_module, "write_picture", 9),
        (writer_module, "write_picture", 36),
        (film_module, "write_view", 1),
        (film_module, "write_text", 1),
        (prepare_video, "write_sheet", 1),
    ],
)
def test_what_was_broken_off_is_made_as_if_nothing_had_been(run, film, monkeypatch, module, broken_at, count):
    _, _, whole = run(film, out="whole")
    original, calls = getattr(module, broken_at), 0

    def stop(*args):
        nonlocal calls
        calls += 1
        if calls == count:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, broken_at, stop)
        with pytest.raises(KeyboardInterrupt):
            run(film)
    _, _, out = run(film)
    assert contents(out) == contents(whole)
    sheets = [contents(folder.with_name(f"sheet_{folder.name}")) for folder in (out, whole)]
    pictures = [{name: content for name, content in sheet.items() if name.suffix == ".jpg"} for sheet in sheets]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["a.mp4", "b/a.avi"], "several inputs are called a"),
        (["a.mp4", "--min_motion=0.5"], "--min_motion 0.5 must lie between 0 and --max_motion"),
        (["a.mp4", "--max_gap=0"], "argument --max_gap: 0: must be at least 1"),
        (["a.mp4", "--clip_length=2"], "--clip_length 2 is less than --min_length 3"),
        (["a.mp4", "--frame_step=0"], "--frame_step 0: must be at least 1"),
        ([".hidden.mp4"], "clips cannot be named after '.hidden'"),
    ],
)
def test_mistakes_in_the_flags_are_named(run, capsys, args, words):
    with pytest.raises(SystemExit):
        run(*args)
    assert words in capsys.readouterr().err

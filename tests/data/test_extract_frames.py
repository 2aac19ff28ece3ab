"""Cutting films into clips: all frames in order, without the black border, and never half a clip."""

import numpy as np
import pytest

from data.clips import find_clips
from data.extract_frames import extract_frames, main
from data.image_files import list_images, read_rgb
from util.errors import UserError
from util.video_files import VideoWriter

SIZE, BOX = (48, 64), (8, 40, 12, 52)  # of the film, and of what is not border in it: top, bottom, left, right
CODEC_TOLERANCE = 8  # Motion JPEG is lossy


def write_film(path, count=8, bordered=True):
    """Frame i is grey of level 60 + 20 i, inside a black border."""
    with VideoWriter(path, 25) as video:
        for number in range(count):
            frame = np.full((*SIZE, 3), 60 + 20 * number, np.uint8)
            if bordered:
                top, bottom, left, right = BOX
                view = np.zeros_like(frame)
                view[top:bottom, left:right] = frame[top:bottom, left:right]
                frame = view
            video.write(frame)
    return path


@pytest.fixture
def film(tmp_path):
    return write_film(tmp_path / "colon.avi")


def levels(folder):
    return [float(np.median(read_rgb(path))) * 255 for path in list_images(folder)]


def run(*args):
    main([str(arg) for arg in args])


def test_all_frames_come_out_in_order_and_without_border(film, tmp_path):
    run(film, "--out", tmp_path / "clips")
    (clip,) = find_clips(tmp_path / "clips")
    assert [path.name for path in clip.files] == [f"{number:06d}.png" for number in range(8)]
    np.testing.assert_allclose(levels(clip.place), 60 + 20 * np.arange(8), atol=CODEC_TOLERANCE)
    height, width = clip.read(0, 1)[0].shape[:2]
    assert BOX[1] - BOX[0] - 4 <= height <= BOX[1] - BOX[0]
    assert BOX[3] - BOX[2] - 4 <= width <= BOX[3] - BOX[2]
    assert min(frame.min() for frame in clip.read(0, 8)) > 0.15


def test_no_crop_keeps_the_border(film, tmp_path):
    run(film, "--out", tmp_path / "clips", "--no_crop")
    frame = read_rgb(tmp_path / "clips" / "colon" / "000000.png")
    assert frame.shape == (*SIZE, 3)
    assert frame[0, 0].max() < 0.1


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (["--every", 3], [0, 3, 6]),
        (["--max_frames", 2], [0, 1]),
        (["--every", 3, "--max_frames", 2], [0, 3]),
        (["--max_frames", 99], list(range(8))),
    ],
)
def test_every_and_max_frames_pick_from_the_beginning(film, tmp_path, flags, kept):
    run(film, "--out", tmp_path / "clips", *flags)
    np.testing.assert_allclose(
        levels(tmp_path / "clips" / "colon"), [60 + 20 * number for number in kept], atol=CODEC_TOLERANCE
    )


def test_a_clip_that_is_there_is_left_alone_and_the_others_are_made(film, tmp_path, capsys):
    other = write_film(tmp_path / "other.avi", count=3)
    done = tmp_path / "clips" / "colon"
    done.mkdir(parents=True)
    run(film, other, "--out", tmp_path / "clips")
    assert list(done.iterdir()) == []
    assert len(list_images(tmp_path / "clips" / "other")) == 3
    assert f"{done} is there already" in capsys.readouterr().err


def test_an_interrupted_film_leaves_no_clip_and_is_whole_the_next_time(film, tmp_path, monkeypatch):
    written = []

    def write_three(path, rgb):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)

    with monkeypatch.context() as patched:
        patched.setattr("data.extract_frames.write_picture", write_three)
        with pytest.raises(KeyboardInterrupt):
            run(film, "--out", tmp_path / "clips")
    assert list((tmp_path / "clips").glob("*")) == []
    run(film, "--out", tmp_path / "clips")
    assert len(list_images(tmp_path / "clips" / "colon")) == 8


def test_two_films_of_one_name_are_an_error_before_anything_is_written(film, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run(film, tmp_path / "elsewhere" / "colon.mp4", "--out", tmp_path / "clips")
    assert caught.value.code == 2
    assert "same name" in capsys.readouterr().err
    assert not (tmp_path / "clips").exists()


@pytest.mark.parametrize("flags", [["--every", "0"], ["--max_frames", "0"]])
def test_counts_below_one_are_refused(film, tmp_path, flags):
    with pytest.raises(SystemExit):
        run(film, "--out", tmp_path / "clips", *flags)


def test_a_black_film_says_how_to_keep_it(tmp_path):
    with VideoWriter(tmp_path / "black.avi", 25) as video:
        video.write(np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(UserError, match=r"black\.avi is black.*--no_crop"):
        extract_frames(tmp_path / "black.avi", tmp_path / "clips" / "black")
    assert extract_frames(tmp_path / "black.avi", tmp_path / "clips" / "black", crop=False) == 1


def test_what_is_no_film_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(UserError, match="text.mp4"):
        run(tmp_path / "text.mp4", "--out", tmp_path / "clips")
    assert not (tmp_path / "clips").exists()

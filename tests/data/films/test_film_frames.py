"""Frames of films and folders: in order, with their times; and samples from all over a film."""

import cv2
import numpy as np
import pytest

from data.films.frames import count_frames, read_film, sample_film
from tests.data.films.film_files import encode_film
from util.errors import UserError

SIZE = (48, 64)
FPS = 10


def grey(level):
    return np.full((*SIZE, 3), level, np.uint8)


def encode(path, levels, gop=12):
    """A film of grey frames."""
    no_others = {"sc_threshold": 10**9}  # whole frames only where they are asked for
    return encode_film(path, [grey(level) for level in levels], codec="mpeg4", fps=FPS, gop=gop, b="4M", **no_others)


@pytest.fixture
def film(tmp_path):
    """Frame i is of level 20 + 2 i."""
    return encode(tmp_path / "film.mp4", range(20, 220, 2))


@pytest.fixture
def folder(tmp_path, save):
    for number in range(30):
        save(tmp_path / "folder" / f"{number}.png", grey(20 + 2 * number))
    return tmp_path / "folder"


def levels(frames):
    return [float(frame.mean()) for frame in frames]


def test_frames_come_in_order_with_their_times(film):
    frames = list(read_film(film))
    assert [frame.number for frame in frames] == list(range(100))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(100) / FPS, atol=1e-3)
    np.testing.assert_allclose(levels(frame.rgb() for frame in frames), np.arange(20, 220, 2), atol=3)
    assert frames[0].size == frames[0].rgb().shape[:2] == SIZE


def test_small_copies_show_the_same(film, folder):
    for source in (film, folder):
        frame = next(read_film(source))
        assert frame.small(32).shape == (24, 32, 3)
        assert abs(frame.small(32).mean() - frame.rgb().mean()) < 2


def test_a_small_copy_is_that_of_the_whole_picture(tmp_path, save):
    noise = np.random.default_rng(0).random((*SIZE, 3)).astype(np.float32)
    picture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 30, 220, cv2.NORM_MINMAX).astype(np.uint8)
    save(tmp_path / "one" / "0.png", picture)
    woven = picture.copy()
    woven[1::2] = 255 - woven[1::2]
    save(tmp_path / "two" / "0.png", woven)
    plain = next(read_film(tmp_path / "one")).small(32).astype(int)
    field = next(read_film(tmp_path / "two", interlaced=True)).small(32).astype(int)
    assert np.abs(plain - cv2.resize(picture, (32, 24), interpolation=cv2.INTER_AREA)).max() == 0
    assert np.abs(plain - field).mean() < 6  # half a row beside it


def test_frames_are_counted_without_decoding_them(film, folder):
    assert count_frames(film) == 100
    assert count_frames(folder) == 30


def test_samples_are_from_all_over_a_film(film, folder):
    assert levels(sample_film(folder, 4)) == [20, 20 + 2 * 10, 20 + 2 * 19, 20 + 2 * 29]
    sampled = levels(sample_film(film, 8))  # 9 frames are stored whole
    assert len(sampled) == 8
    assert sampled[0] < 25
    assert sampled[-1] > 200
    assert np.all(np.diff(sampled) > 10)


def test_a_film_with_few_frames_that_are_stored_whole_is_sampled_too(tmp_path):
    film = encode(tmp_path / "long_gop.mp4", range(20, 220, 2), gop=100)
    sampled = levels(sample_film(film, 10))
    np.testing.assert_allclose(sampled, np.arange(20, 220, 20), atol=3)


@pytest.mark.parametrize("read", [lambda source: next(read_film(source)), count_frames])
def test_what_is_no_film_is_named(tmp_path, read):
    (tmp_path / "text.txt").write_text("no film")
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("text.txt", "neither a film"),
        ("broken.mp4", "cannot be read as a film"),
        ("missing.mp4", "cannot be read as a film"),
        ("empty", "holds no frames"),
    ):
        with pytest.raises(UserError, match=f"{name}.*{words}"):
            read(tmp_path / name)

"""Frames for SfM: their numbers, their files, their view."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.clips import write_clip_view
from data.run_sfm.camera import Lens
from data.run_sfm.frames import Frames, collect_frames, numbered, read_mask
from tests.data.films.film_files import encode_film
from tests.data.run_sfm.sfm_scene import SIZE, K
from util.errors import UserError
from util.intrinsics import Intrinsics


def pinhole(size: tuple[int, int]) -> Lens:
    return Lens(Intrinsics(K, size))


def noise(seed: int, shape=(*SIZE, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 255, shape, dtype=np.uint8)


@pytest.fixture
def out(tmp_path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def source(tmp_path, save) -> Path:
    for index in range(4):
        save(tmp_path / "clip" / f"scope2_{7 + 3 * index}.png", noise(index))
    return tmp_path / "clip"


def test_numbers_come_from_the_end_of_the_names(source, out):
    frames, _ = collect_frames(source, out, pinhole)
    assert frames.numbers == (7, 10, 13, 16)
    assert [file.name for file in frames.files] == ["00000007.png", "00000010.png", "00000013.png", "00000016.png"]
    assert frames.name == "clip"


@pytest.mark.parametrize(
    "names", [["a.png", "b.png"], ["a1.png", "b1.png"], ["f20240101120000.png", "f20240101120001.png"]]
)
def test_names_whose_numbers_do_not_tell_frames_apart_are_counted(names):
    files = [Path(name) for name in names]
    assert numbered(files) == [(0, files[0]), (1, files[1])]


def test_a_mask_among_frames_is_no_frame(source, out, save, capsys):
    save(source / "undistorted_mask.bmp", np.zeros(SIZE))
    frames, _ = collect_frames(source, out, pinhole)
    assert frames.numbers == (7, 10, 13, 16)
    assert "undistorted_mask.bmp" in capsys.readouterr().err


def test_every_second_frame(source, out):
    assert collect_frames(source, out, pinhole, every=2)[0].numbers == (7, 13)


def test_good_frames_keep_their_bytes(source, out):
    frames, _ = collect_frames(source, out, pinhole)
    assert frames.files[1].read_bytes() == (source / "scope2_10.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "pixels"), [("5.bmp", noise(9)), ("5.png", noise(9)[..., 0]), ("5.png", noise(9).astype(np.uint16) * 256)]
)
def test_other_pictures_become_png_of_8_bits_and_three_channels(tmp_path, out, save, name, pixels):
    save(tmp_path / "clip" / name, pixels, dtype=pixels.dtype.type)
    (file,) = collect_frames(tmp_path / "clip", out, pinhole)[0].files
    written = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[..., ::-1]
    expected = noise(9) if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    assert file.name == "00000005.png"
    assert written.dtype == np.uint8
    np.testing.assert_array_equal(written, expected)


def test_frames_and_view_of_a_bent_lens_are_straightened_alike(source, out, save):
    lens = Lens(Intrinsics(K, SIZE), (-0.3, 0.05, 0.0, 0.0))
    mask = np.zeros(SIZE)
    mask[:, :60] = 255
    frames, used = collect_frames(source, out, lambda size: lens, mask=save(source.parent / "mask.png", mask))
    assert used is lens
    bent = cv2.imread(str(source / "scope2_7.png"))
    np.testing.assert_array_equal(cv2.imread(str(frames.files[0])), lens.straighten(bent))
    np.testing.assert_array_equal(frames.view, lens.straighten_view(mask > 0))


def test_the_view_is_found_in_the_frames_without_texts_beside_it_and_its_rim(tmp_path, out, save):
    for index in range(5):
        rgb = np.zeros((*SIZE, 3), np.uint8)
        rgb[40:160, 80:240] = noise(index)[40:160, 80:240]
        rgb[5:12, 5:30] = 250  # a text
        save(tmp_path / "clip" / f"{index}.png", rgb)
    view = collect_frames(tmp_path / "clip", out, pinhole)[0].view
    expected = np.zeros(SIZE, bool)
    expected[41:159, 81:239] = True  # without the rim: 0.005 of 200 rows
    np.testing.assert_array_equal(view, expected)


def test_a_view_beside_prepared_frames_counts_and_a_given_mask_before_it(source, out, save):
    beside = np.zeros(SIZE, bool)
    beside[50:, :] = True
    write_clip_view(source / "view.npy", beside)
    np.testing.assert_array_equal(collect_frames(source, out, pinhole)[0].view, beside)
    given = np.zeros(SIZE)
    given[:20] = 255
    again = out / "again"
    again.mkdir()
    view = collect_frames(source, again, pinhole, mask=save(source.parent / "mask.png", given))[0].view
    np.testing.assert_array_equal(view, given > 0)


@pytest.mark.parametrize(("outside", "inside", "rim"), [(0, 255, 254 // 2), (0, 1, 0), (3, 252, 200)])
def test_a_mask_is_inside_where_it_is_brightest_but_for_a_compressors_noise(tmp_path, save, outside, inside, rim):
    pixels = np.full(SIZE, outside)
    pixels[20:180, 30:250] = rim
    pixels[30:170, 40:240] = inside
    mask = read_mask(save(tmp_path / "mask.png", pixels))
    assert mask[30:170, 40:240].all()
    assert mask.sum() == 140 * 200


def test_features_are_sought_off_the_rim_but_up_to_the_pictures_edge():
    view = np.ones((540, 960), bool)
    view[:, :100] = False
    inner = Frames("clip", Path(), (), (), Intrinsics(K, view.shape), view).inner_view()
    assert not inner[:, :110].any()  # 21 px of 1920 are 10.5 of 960, which rounds to 10
    assert inner[:, 110:].all()


def test_a_view_of_nothing_but_rim_is_an_error():
    view = np.zeros((540, 960), bool)
    view[:, 200:215] = True
    with pytest.raises(UserError, match="narrower than its rim of 10 px"):
        Frames("clip", Path(), (), (), Intrinsics(K, view.shape), view).inner_view()


@pytest.fixture
def film_frames() -> list[np.ndarray]:
    """30 that move to the right, grey and smooth, so that a film keeps what they show."""
    grey = cv2.normalize(cv2.GaussianBlur(noise(1, SIZE), (0, 0), 3), None, 60, 240, cv2.NORM_MINMAX)
    return [np.roll(np.repeat(grey[..., None], 3, axis=2), 3 * index, axis=1) for index in range(30)]


def test_a_film_gives_frames_with_their_numbers(tmp_path, out, film_frames):
    film = encode_film(tmp_path / "film.mp4", film_frames, crf=10)
    taken, _ = collect_frames(film, out, pinhole, every=10)
    assert taken.numbers == (0, 10, 20)
    assert taken.name == "film"
    written = cv2.imread(str(taken.files[1]))[..., ::-1].astype(float)
    assert np.abs(written - film_frames[10]).mean() < 4 < np.abs(written - film_frames[9]).mean()


def test_a_film_at_a_rate_gives_the_first_frame_of_each_interval(tmp_path, out, film_frames):
    film = encode_film(tmp_path / "film.mp4", film_frames, fps=25)
    assert collect_frames(film, out, pinhole, fps=10)[0].numbers == (0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28)


def test_frames_of_two_sizes_are_an_error(source, out, save):
    save(source / "scope2_99.png", noise(1, (100, 140, 3)))
    with pytest.raises(UserError, match=r"frame 99 has \(100, 140\) pixels"):
        collect_frames(source, out, pinhole)


def test_a_mask_of_another_size_is_an_error(source, out, save):
    with pytest.raises(UserError, match=r"mask of .* has \(50, 60\) pixels, but the frames have \(200, 280\)"):
        collect_frames(source, out, pinhole, mask=save(source.parent / "mask.png", np.full((50, 60), 255)))


def test_an_empty_mask_is_an_error(tmp_path, save):
    with pytest.raises(UserError, match="0 everywhere"):
        read_mask(save(tmp_path / "mask.png", np.zeros(SIZE)))


def test_black_frames_are_an_error(tmp_path, out, save):
    save(tmp_path / "clip" / "1.png", np.zeros((*SIZE, 3)))
    with pytest.raises(UserError, match="nothing is seen"):
        collect_frames(tmp_path / "clip", out, pinhole)


def test_a_folder_without_frames_and_no_folder_are_errors(tmp_path, out):
    with pytest.raises(UserError, match="holds no frames"):
        collect_frames(out, out, pinhole)
    with pytest.raises(UserError, match="no film or folder"):
        collect_frames(tmp_path / "nowhere", out, pinhole)

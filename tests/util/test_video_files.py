import cv2
import numpy as np
import pytest

from util import video_files
from util.errors import UserError
from util.video_files import VideoWriter, read_video_frames, video_info

COLOR_TOLERANCE = 12  # both codecs are lossy, with half the resolution in colour


def frames(count=6, size=(48, 80)):
    """Left half reddish, right half bluish, brighter from frame to frame."""
    result = np.zeros((count, *size, 3), dtype=np.uint8)
    for i, frame in enumerate(result):
        frame[:, : size[1] // 2] = (200, 20 + 25 * i, 30)
        frame[:, size[1] // 2 :] = (20, 30, 60 + 25 * i)
    return result


def broken_off():
    yield frames()[0]
    raise RuntimeError("in the middle")


def write(path, pictures, fps=25.0):
    with VideoWriter(path, fps) as video:
        for picture in pictures:
            video.write(picture)
    return video.path


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.AVI"])
def test_a_round_trip_keeps_frames_rate_size_and_colours(tmp_path, name):
    written = frames()
    path = write(tmp_path / name, written, fps=12.5)
    assert video_info(path) == (12.5, 6, (48, 80))
    read = list(read_video_frames(path))
    assert len(read) == 6
    for a, b in zip(read, written, strict=True):
        assert a.dtype == np.uint8
        for part in (np.s_[4:-4, 4:36], np.s_[4:-4, 44:-4]):
            np.testing.assert_allclose(a[part].mean((0, 1)), b[part].mean((0, 1)), atol=COLOR_TOLERANCE)


@pytest.mark.parametrize("name", ["odd.mp4", "odd.avi"])
def test_an_odd_picture_is_extended_and_not_cut(tmp_path, name):
    path = write(tmp_path / name, frames(2, size=(47, 63)))
    assert video_info(path).size == (48, 64)


def test_the_file_appears_only_when_all_is_written(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 25) as video:
        video.write(frames()[0])
        assert not (tmp_path / "clip.mp4").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="in the middle"):
        write(tmp_path / "clip.mp4", broken_off())
    assert (tmp_path / "clip.mp4").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_video_without_frames_is_an_error_and_no_file(tmp_path):
    with pytest.raises(ValueError, match="no frames were written"), VideoWriter(tmp_path / "clip.mp4", 25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_frames_that_got_lost_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(video_files, "video_info", lambda path: video_files.VideoInfo(25.0, 3, (48, 80)))
    with pytest.raises(OSError, match="3 of 6 frames"):
        write(tmp_path / "clip.mp4", frames())
    assert list(tmp_path.iterdir()) == []


def test_without_an_mp4_encoder_the_video_becomes_an_avi(tmp_path, monkeypatch):
    monkeypatch.setattr(video_files, "_can_encode", lambda suffix: suffix == ".avi")
    path = write(tmp_path / "clip.mp4", frames())
    assert path == tmp_path / "clip.avi"
    assert [file.name for file in tmp_path.iterdir()] == ["clip.avi"]
    assert len(list(read_video_frames(path))) == 6


def test_frames_of_another_size_or_type_are_refused(tmp_path):
    with pytest.raises(ValueError, match="frame 1 is"):
        write(tmp_path / "clip.mp4", [frames()[0], frames(size=(48, 64))[0]])
    with pytest.raises(ValueError, match="RGB, uint8"):
        write(tmp_path / "clip.mp4", [frames()[0].astype(np.float32)])


@pytest.mark.parametrize(("name", "fps"), [("clip.gif", 25), ("clip", 25), ("clip.mp4", 0), ("clip.mp4", float("nan"))])
def test_an_unknown_ending_or_rate_is_refused(tmp_path, name, fps):
    with pytest.raises(UserError, match="clip"):
        VideoWriter(tmp_path / name, fps)


@pytest.mark.parametrize("read", [video_info, read_video_frames])
def test_a_missing_file_and_no_video_are_told_at_the_call(tmp_path, read):
    with pytest.raises(UserError, match="no video file"):
        read(tmp_path / "missing.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match="cannot be opened"):
        read(tmp_path / "text.mp4")


def test_a_video_without_frames_is_told(tmp_path):
    path = tmp_path / "empty.avi"
    cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 48)).release()
    with pytest.raises(UserError, match=r"empty\.avi"):
        read_video_frames(path)


def test_a_cut_off_video_gives_its_frames_and_a_warning(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "clip.avi", frames())
    monkeypatch.setattr(video_files, "_stated", lambda capture, what: 9.0)
    assert len(list(read_video_frames(path))) == 6
    assert "states 9 frames, but only 6" in capsys.readouterr().err

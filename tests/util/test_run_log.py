import re

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from util.run_log import RunLog, loss_line


def events(folder):
    accumulator = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    return accumulator.Reload()


def losses(log, step, **terms):
    return log.losses(terms, epoch=3, iteration=1200, step=step, time_s=0.1234, data_s=0.0041)


def test_a_line_has_pix2pixhds_format():
    line = loss_line({"G_GAN": 0.9123, "D": 0.25}, epoch=3, iteration=1200, time_s=0.1234, data_s=0.0041)
    assert line == "(epoch: 3, iters: 1200, time: 0.123, data: 0.004) G_GAN: 0.9123 D: 0.25"


def test_small_and_broken_losses_stay_readable():
    line = loss_line({"a": 0.00001234, "b": float("nan")}, epoch=1, iteration=1, time_s=0, data_s=0)
    assert line.endswith("a: 1.234e-05 b: nan")


def test_each_run_adds_a_header_and_its_lines_to_the_log(tmp_path):
    with RunLog(tmp_path, "lr: 0.1") as log:
        line = losses(log, 1, G_GAN=0.5)
        assert (tmp_path / "loss_log.txt").read_text().splitlines()[-1] == line  # on the disk at once
    with RunLog(tmp_path, "lr: 0.1", first_step=2) as log:
        losses(log, 2, G_GAN=0.4)
    lines = (tmp_path / "loss_log.txt").read_text().splitlines()
    assert len(lines) == 4
    assert all(re.fullmatch(r"=+ Training Loss \(.+\) =+", lines[i]) for i in (0, 2))
    assert lines[3] == "(epoch: 3, iters: 1200, time: 0.123, data: 0.004) G_GAN: 0.4"


def test_losses_and_scalars_become_curves(tmp_path):
    with RunLog(tmp_path, "") as log:
        losses(log, 10, G_GAN=torch.tensor(0.5))
        losses(log, 20, G_GAN=torch.tensor(0.25))
        log.scalars("eval", {"abs_rel": 0.085}, 20)
    read = events(tmp_path)
    assert [(event.step, event.value) for event in read.Scalars("training/G_GAN")] == [(10, 0.5), (20, 0.25)]
    assert read.Scalars("eval/abs_rel")[0].value == pytest.approx(0.085)


def test_pictures_of_both_kinds_arrive_as_they_are(tmp_path):
    chw = torch.zeros(3, 4, 6)
    chw[0, :, 3:] = 1.0  # the right half is red
    hwc = (chw.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    with RunLog(tmp_path, "") as log:
        log.images({"tensor": chw, "array": hwc}, 7)
    read = events(tmp_path)
    for name in ("tensor", "array"):
        (event,) = read.Images(f"pictures/{name}")
        assert event.step == 7
        picture = cv2.imdecode(np.frombuffer(event.encoded_image_string, dtype=np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(picture[..., ::-1], hwc)


def test_a_picture_of_no_known_kind_is_refused(tmp_path):
    with RunLog(tmp_path, "") as log:
        for picture in (torch.zeros(4, 6, 3), np.zeros((4, 6, 3)), torch.zeros(3, 4, 6, dtype=torch.uint8)):
            with pytest.raises(ValueError, match="'x' must be"):
                log.images({"x": picture}, 0)


def test_options_and_texts_are_kept(tmp_path):
    with RunLog(tmp_path, "lr: 0.0002\nname: demo") as log:
        log.text("note", "**bold**", 3)
    read = events(tmp_path)
    options = read.Tensors("options/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "lr: 0.0002\nname: demo" in options
    assert read.Tensors("note/text_summary")[0].tensor_proto.string_val[0] == b"**bold**"


def test_a_resumed_run_hides_what_it_repeats(tmp_path):
    with RunLog(tmp_path, "") as log:
        for step in (1, 2, 3):
            log.scalars("a", {"loss": step}, step)
    with RunLog(tmp_path, "", first_step=2) as log:
        log.scalars("a", {"loss": 20.0}, 2)
    assert [(event.step, event.value) for event in events(tmp_path).Scalars("a/loss")] == [(1, 1.0), (2, 20.0)]


def test_without_tensorboard_it_warns_once_and_goes_on(tmp_path, capsys):
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    with RunLog(tmp_path, "") as log:
        losses(log, 1, G_GAN=0.5)
        log.images({"x": torch.zeros(3, 2, 2)}, 1)
        losses(log, 2, G_GAN=0.4)
    assert capsys.readouterr().err.count("warning:") == 1
    assert len((tmp_path / "loss_log.txt").read_text().splitlines()) == 3


def test_tensorboard_failing_later_does_not_end_the_run(tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with RunLog(tmp_path, "") as log:
        monkeypatch.setattr(log._writer, "add_scalar", full)
        losses(log, 1, G_GAN=0.5, D=0.1)
        losses(log, 2, G_GAN=0.4, D=0.1)
    assert capsys.readouterr().err.count("No space left") == 1
    assert len((tmp_path / "loss_log.txt").read_text().splitlines()) == 3

"""The command line of test.py: what the checkpoint says holds, and a flag that says otherwise is an error."""

from pathlib import Path

import pytest
import torch

from options.base_options import to_plain
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.checkpoint import save_checkpoint

PUBLISHED = "--name colon2depth_512p --no_instance --label_nc 0"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Writes the checkpoint of a run that was trained with these flags."""
    monkeypatch.chdir(tmp_path)

    def run(*args, name="colon2depth_512p", epoch="latest"):
        opt = TrainOptions().parse([*args, "--name", name, "--gpu_ids", "-1"])
        networks = {"net_G": {"w": torch.zeros(1)}}
        state = {"model": opt.model, "options": to_plain(opt), "networks": networks, "facts": {}}
        save_checkpoint(Path("checkpoints") / name, epoch, state)

    return run


def parse(*args):
    return TestOptions().parse([*args, "--gpu_ids", "-1"])


@pytest.fixture
def refused(capsys):
    def refused(*args):
        with pytest.raises(SystemExit) as caught:
            parse(*args)
        assert caught.value.code == 2
        text = capsys.readouterr().err
        assert text.startswith("error: ")
        assert text.count("\n") == 1
        return text

    return refused


def test_the_published_command_parses_flag_for_flag(run):
    run()
    opt = parse(*PUBLISHED.split())
    assert opt.checkpoint_file == Path("checkpoints/colon2depth_512p/latest.pth")
    assert (opt.model, opt.is_train, opt.phase, opt.ngf, opt.gpu_ids) == ("colon2depth", False, "test", 64, [])


def test_networks_preprocessing_and_data_are_those_of_the_checkpoint(run):
    run("--ngf", "16", "--loadSize", "128", "--max_depth_mm", "150", "--dataroot", "datasets/mine", "--seed", "4")
    opt = parse()
    assert (opt.ngf, opt.load_size, opt.max_depth_mm, opt.seed) == (16, 128, 150.0, 4)
    assert opt.dataroot == Path("datasets/mine")


def test_data_may_be_others_than_in_training(run):
    run("--dataroot", "datasets/mine", "--depth_format", "ucl16")
    opt = parse("--dataroot", "datasets/other", "--depth_format", "simcol3d")
    assert (opt.dataroot, opt.depth_format) == (Path("datasets/other"), "simcol3d")


@pytest.mark.parametrize(("flag", "value", "kept"), [("--ngf", "64", "16"), ("--loadSize", "256", "128")])
def test_a_flag_that_contradicts_the_checkpoint_is_an_error(run, refused, flag, value, kept):
    run("--ngf", "16", "--loadSize", "128")
    said = refused(flag, value)
    assert value in said
    assert f"the checkpoint has {kept}" in said
    assert parse(flag, kept).ngf == 16


def test_another_model_than_the_checkpoints_is_an_error(run, refused):
    run()
    assert "the checkpoint has colon2depth" in refused("--model", "sc_depth")
    assert parse("--model", "colon2depth").model == "colon2depth"


def test_bare_weights_are_tested_with_the_flags(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    weights = Path("checkpoints/colon2depth_512p/latest_net_G.pth")
    weights.parent.mkdir(parents=True)
    torch.save({"w": torch.zeros(1)}, weights)
    opt = parse(*PUBLISHED.split(), "--ngf", "32")
    assert (opt.checkpoint_file, opt.ngf, opt.load_size) == (weights, 32, 512)
    assert "known are: colon2depth" in refused("--model", "nonsense")


def test_another_epoch_or_file_can_be_chosen(run):
    run("--ngf", "8", epoch="20")
    assert parse("--which_epoch", "20").checkpoint_file == Path("checkpoints/colon2depth_512p/20.pth")
    file = Path("checkpoints/colon2depth_512p/20.pth")
    assert parse("--checkpoint", str(file)).checkpoint_file == file


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--name", "nobody"], "no run 'nobody' in checkpoints/; runs there: colon2depth_512p"),
        (["--which_epoch", "7"], "no checkpoint '7'; it has: latest"),
        (["--checkpoint", "nowhere.pth"], "nowhere.pth"),
        (["--nonsense"], "unrecognized arguments"),
        (["--label_nc", "1"], "use --label_nc 0"),
        (["--instance_feat"], "depth is learned from RGB"),
        (["--input", "nowhere"], "--input nowhere: there is no such file or folder"),
        (["--truth", "nowhere"], "--truth"),
        (["--how_many", "0"], "--how_many 0"),
        (["--save_ply", "--fov", "90", "--intrinsics", "K.json"], "give one of them"),
        (["--batch_size", "0"], "--batch_size 0"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(run, refused, args, said):
    run()
    assert said in refused(*args)


def test_a_damaged_checkpoint_is_one_line(run, refused):
    run()
    path = Path("checkpoints/colon2depth_512p/latest.pth")
    path.write_bytes(path.read_bytes()[:200])
    assert "latest.pth" in refused()

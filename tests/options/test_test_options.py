"""The command line of test.py: what the checkpoint says holds, and a flag that says otherwise is an error."""

from pathlib import Path

import pytest
import torch

from models.colon2depth_model import Colon2depthModel
from options.base_options import to_plain
from options.test_options import TestOptions
from options.train_options import TrainOptions
from test import which_weights
from util.checkpoint import save_checkpoint
from util.exported_weights import export_weights

PUBLISHED = "--name colon2depth_512p --no_instance --label_nc 0"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Writes the checkpoint of a run that was trained with these flags."""
    monkeypatch.chdir(tmp_path)

    def run(*args, name="colon2depth_512p", epoch="latest", ema=None):
        opt = TrainOptions().parse([*args, "--name", name, "--gpu_ids", "-1"])
        networks = {"net_G": {"w": torch.zeros(1)}}
        state = {"model": opt.model, "options": to_plain(opt), "networks": networks, "facts": {}, "iteration": 1}
        save_checkpoint(Path("checkpoints") / name, epoch, state | {"ema": ema or {}})
        return Path("checkpoints") / name / f"{epoch}.pth"

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


def test_results_are_kept_under_the_name_of_the_run_whose_folder_or_file_is_given(run):
    run("--ngf", "8", name="mine")
    run("--ngf", "16", name="mine", epoch="20")
    folder = parse("--checkpoint", "checkpoints/mine")
    assert (folder.name, folder.checkpoint_file, folder.ngf) == ("mine", Path("checkpoints/mine/latest.pth"), 8)
    earlier = parse("--checkpoint", "checkpoints/mine", "--which_epoch", "20")
    assert (earlier.name, earlier.checkpoint_file, earlier.ngf) == ("mine", Path("checkpoints/mine/20.pth"), 16)
    assert which_weights(earlier) == "20"
    file = parse("--checkpoint", "checkpoints/mine/20.pth")
    assert (file.name, which_weights(file), file.ngf) == ("mine", "20", 16)
    assert parse("--checkpoint", "checkpoints/mine/20.pth", "--name", "other").name == "other"


def test_folder_of_a_run_may_be_the_current_one(run, monkeypatch):
    run("--ngf", "8", name="mine")
    monkeypatch.chdir("checkpoints/mine")
    assert (parse("--checkpoint", ".").name, parse("--checkpoint", "latest.pth").name) == ("mine", "mine")


def test_folder_that_holds_no_run_is_one_line(run, refused):
    run()
    Path("empty").mkdir()
    assert "no run 'empty' in ./; runs there: none" in refused("--checkpoint", "empty")
    assert "no checkpoint '7'; it has: latest" in refused(
        "--checkpoint", "checkpoints/colon2depth_512p", "--which_epoch", "7"
    )


def test_bare_weights_of_several_networks_are_taken_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("checkpoints/released")
    folder.mkdir(parents=True)
    for network in ("depth", "pose"):
        torch.save({"w": torch.zeros(1)}, folder / f"latest_net_{network}.pth")
    opt = parse("--model", "sc_depth", "--name", "released")
    assert (opt.checkpoint_file, which_weights(opt)) == (folder / "latest_net_*.pth", "latest")
    assert parse("--model", "sc_depth", "--checkpoint", str(folder)).checkpoint_file == folder / "latest_net_*.pth"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_given_where_there_is_no_run_and_for_the_method_that_is_named(tmp_path, monkeypatch, capsys, flag):
    monkeypatch.chdir(tmp_path)
    for args, options in (([], ["--ngf", "--input", "*.ckpt"]), (["--model", "sc_depth"], ["--sc_version"])):
        with pytest.raises(SystemExit) as caught:
            TestOptions().parse([*args, flag])
        assert caught.value.code == 0
        text = capsys.readouterr().out
        assert all(option in text for option in options)


def test_missing_latest_is_the_one_before_it_rather_than_bare_weights(run):
    path = run("--ngf", "8")
    path.rename(path.with_name("latest_1.pth"))
    assert path.with_name("latest_net_G.pth").is_file()
    opt = parse()
    assert (opt.checkpoint_file, opt.ngf) == (path.with_name("latest_1.pth"), 8)


def test_exported_file_is_tested_with_its_own_options_and_under_its_own_name(run, refused):
    path = run("--ngf", "8", "--loadSize", "128", "--max_depth_mm", "150", "--dataroot", "datasets/mine")
    file = Path("elsewhere/clinic.safetensors")
    export_weights(path, file)
    path.unlink()
    opt = parse("--checkpoint", str(file))
    assert (opt.checkpoint_file, opt.name, opt.model) == (file, "clinic", "colon2depth")
    assert (opt.ngf, opt.load_size, opt.max_depth_mm, opt.dataroot) == (8, 128, 150.0, Path("datasets/mine"))
    assert parse("--checkpoint", str(file), "--name", "mine").name == "mine"
    assert "--ngf 16 (the checkpoint has 8)" in refused("--checkpoint", str(file), "--ngf", "16")


def test_precision_is_that_of_the_training_unless_another_is_asked_for(run):
    run("--precision", "fp32")
    assert parse().precision == "fp32"
    assert parse("--precision", "bf16").precision == "bf16"


def test_averaged_weights_are_tested_if_there_are_any(run, refused):
    path = run()
    assert not parse().use_ema
    said = refused("--use_ema")
    assert "latest.pth holds no averaged weights, which a training with --ema keeps; leave --use_ema out" in said
    export_weights(path, Path("last.safetensors"))
    assert "last.safetensors holds no averaged weights" in refused("--use_ema", "--checkpoint", "last.safetensors")
    path = run(ema={"net_G": {"w": torch.ones(1)}})
    assert parse("--use_ema").use_ema
    export_weights(path, Path("mean.safetensors"), ema=True)
    assert parse("--use_ema", "--checkpoint", "mean.safetensors").use_ema


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--name", "nobody"], "no run 'nobody' in checkpoints/; runs there: colon2depth_512p"),
        (["--which_epoch", "7"], "no checkpoint '7'; it has: latest"),
        (["--checkpoint", "nowhere.pth"], "nowhere.pth"),
        (["--checkpoint", "nowhere.safetensors"], "no exported weights at nowhere.safetensors"),
        (["--nonsense"], "unrecognized arguments"),
        (["--label_nc", "1"], "use --label_nc 0"),
        (["--instance_feat"], "depth is learned from RGB"),
        (["--input", "nowhere"], "--input nowhere: there is no such file or folder"),
        (["--truth", "nowhere"], "--truth"),
        (["--how_many", "0"], "--how_many 0"),
        (["--save_ply", "--fov", "90", "--intrinsics", "K.json"], "give one of them"),
        (["--intrinsics", "nowhere.json"], "--intrinsics nowhere.json: there is no such file"),
        (["--fov", "180"], "--fov 180.0: a pinhole camera's field of view lies between 0 and 180"),
        (["--fov", "nan"], "--fov nan"),
        (["--fps", "0"], "--fps 0.0: must be positive"),
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


def test_scores_are_of_everything_unless_said_otherwise(run):
    run()
    opt = parse()
    assert (opt.align, opt.min_eval_mm, opt.max_eval_mm, opt.eval_crop, opt.seg_mask) == (
        None,
        None,
        None,
        "none",
        None,
    )
    opt = parse("--min_eval_mm", "0.5", "--max_eval_mm", "80", "--eval_crop", "kitti")
    assert (opt.min_eval_mm, opt.max_eval_mm, opt.eval_crop) == (0.5, 80.0, "kitti")
    assert parse("--eval_crop", "4,471,0,600").eval_crop == (4, 471, 0, 600)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--min_eval_mm", "80", "--max_eval_mm", "80"], "need 0 <= minimum < maximum"),
        (["--min_eval_mm", "-1"], "need 0 <= minimum < maximum"),
        (["--max_eval_mm", "nan"], "need 0 <= minimum < maximum"),
        (["--eval_crop", "cityscapes"], "is neither none, kitti, nyu nor TOP,BOTTOM,LEFT,RIGHT"),
        (["--eval_crop", "9,9,0,5"], "is empty; rows are TOP to BOTTOM - 1"),
        (["--eval_crop=-1,9,0,5"], "is empty"),
        (["--seg_mask", "nowhere"], "--seg_mask nowhere: there is no such folder"),
    ],
)
def test_a_mistake_in_the_scores_options_is_one_line_too(run, refused, args, said):
    run()
    assert said in refused(*args)


def test_depth_without_mm_cannot_be_shown_unaligned(run, refused, monkeypatch):
    run()
    monkeypatch.setattr(Colon2depthModel, "metric", False)
    assert "--align none: the depth of colon2depth has no mm before an alignment" in refused("--align", "none")
    assert parse("--align", "median").align == "median"

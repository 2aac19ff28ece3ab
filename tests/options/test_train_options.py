"""The command line of train.py: published commands, presets, aliases, and one line for every mistake."""

from pathlib import Path

import pytest
import torch
import yaml

import data
from models import find_model, model_names
from options import train_options
from options.base_options import add_base_options, add_run_options, declared_by, from_plain, new_parser, to_plain
from options.train_options import TrainOptions, preset_names
from util.distributed import Processes
from util.engine import EngineSettings

PUBLISHED = (
    "--name colon2depth_512p --batchSize 8 --gpu_ids 1,2 --label_nc 0 --no_instance --tf_log --no_vgg_loss "
    "--continue_train"
)


def parse(*args, cpu=True):
    return TrainOptions().parse([*args, *(["--gpu_ids", "-1"] if cpu else [])])


@pytest.fixture
def refused(capsys):
    """Parses what must be refused, and returns the one line that says why."""

    def refused(*args, cpu=True):
        with pytest.raises(SystemExit) as caught:
            parse(*args, cpu=cpu)
        assert caught.value.code == 2
        text = capsys.readouterr().err
        assert text.startswith("error: ")
        assert text.count("\n") == 1
        return text

    return refused


@pytest.fixture
def gpus(monkeypatch):
    def gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return gpus


@pytest.fixture
def preset(tmp_path, monkeypatch):
    """Makes a preset called ``mine`` the only one there is."""

    def preset(text):
        (tmp_path / "mine.yaml").write_text(text)
        monkeypatch.setattr(train_options, "PRESETS", tmp_path)

    return preset


def test_the_published_command_parses_flag_for_flag(gpus):
    gpus(3)
    opt = parse(*PUBLISHED.split(), cpu=False)
    assert (opt.name, opt.batch_size, opt.gpu_ids) == ("colon2depth_512p", 8, [1, 2])
    assert (opt.label_nc, opt.no_instance, opt.tf_log, opt.vgg_loss, opt.continue_train) == (0, True, True, False, True)
    assert (opt.model, opt.is_train, opt.streams) == ("colon2depth", True, ["synthetic", "video"])


def test_published_values_are_the_defaults():
    opt = vars(parse())
    published = {
        "lr": 5e-5,
        "beta1": 0.5,
        "niter": 0,
        "niter_decay": 80,
        "batch_size": 8,
        "video_batch_size": 4,
        "load_size": 512,
        "resize_or_crop": "resize",
        "flip": True,
        "clip_length": 3,
        "frame_step": 1,
        "eval_epoch_freq": 5,
        "d_every": 5,
        "video_start_epoch": 70,
        "lambda_video": 5.0,
        "lambda_video_step": 2.0,
        "video_update": "alternate",
        "netG": "global",
        "ngf": 64,
        "n_downsample_global": 4,
        "n_blocks_global": 9,
        "norm": "instance",
        "upsample": "nearest",
        "ndf": 64,
        "num_D": 2,
        "n_layers_D": 3,
        "lambda_feat": 10.0,
        "lsgan": True,
        "gan_feat_loss": True,
        "vgg_loss": False,
        "niter_fix_global": 0,
        "max_depth_mm": 200.0,
        "gpu_ids": [],
    }
    assert {name: opt[name] for name in published} == published


def test_defaults_of_the_engine_are_those_of_its_options_and_all_of_its_settings_have_one():
    expected = {
        "precision": "auto",
        "accumulate": 1,
        "checkpoint_activations": False,
        "compile": False,
        "channels_last": False,
        "ema": 0.0,
        "clip_norm": 0.0,
        "skip_nonfinite": 0,
    }
    opt = vars(parse())
    assert {name: opt[name] for name in expected} == expected
    assert set(expected) | {"gpu_ids", "seed"} == set(EngineSettings.__dataclass_fields__)


def test_options_of_the_engine_arrive_at_it():
    flags = "--precision fp16 --accumulate 2 --checkpoint_activations --compile --channels_last --ema 0.9"
    opt = parse(*flags.split(), "--clip_norm", "1.5", "--skip_nonfinite", "3", "--seed", "4")
    assert EngineSettings.from_options(opt, Processes()) == EngineSettings(
        gpu_ids=(),
        precision="fp16",
        accumulate=2,
        ema=0.9,
        clip_norm=1.5,
        skip_nonfinite=3,
        compile=True,
        checkpoint_activations=True,
        channels_last=True,
        seed=4,
    )


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_arrives_value_by_value(name):
    opt = vars(parse("--preset", name))
    stated = yaml.safe_load((train_options.PRESETS / f"{name}.yaml").read_text())
    assert stated
    aliases = {"loadSize": "load_size", "batchSize": "batch_size", "videoBatchSize": "video_batch_size"}
    aliases |= {"nThreads": "num_workers", "fineSize": "fine_size"}
    for key, value in stated.items():
        value = Path(value) if key == "dataroot" else value
        assert opt[aliases.get(key, key)] == value, key


def test_the_published_preset_says_what_the_defaults_say():
    assert {**vars(parse("--preset", "colon2depth_512p")), "preset": None} == vars(parse())


@pytest.mark.parametrize(
    "args",
    [
        ("--preset", "mine", "--load_size", "32", "--niter", "7"),
        ("--loadSize=32", "--niter=7", "--preset=mine"),
        ("--loadSize", "32", "--preset", "mine", "--niter", "7"),
    ],
)
def test_the_command_line_wins_over_the_preset_whatever_the_order_and_spelling(preset, args):
    preset("loadSize: 64\nniter: 3\nlr: 1e-3\n")
    opt = parse(*args)
    assert (opt.load_size, opt.niter, opt.lr) == (32, 7, 1e-3)


def test_flags_of_a_preset(preset):
    preset("no_flip: true\nvgg_loss: true\nserial_batches: false\nno_html: false\nlambda_video: 0\n")
    opt = parse("--preset", "mine", "--no_vgg_loss")
    assert (opt.flip, opt.vgg_loss, opt.serial_batches, opt.html) == (False, False, False, True)
    assert parse("--preset", "mine").vgg_loss is True


def test_the_model_of_a_preset_is_used_unless_the_command_line_names_one(preset, refused):
    preset("model: nonsense\n")
    assert "unknown --model 'nonsense'" in refused("--preset", "mine")
    assert parse("--preset", "mine", "--model", "colon2depth").model == "colon2depth"


def test_an_unknown_key_in_a_preset_is_an_error(preset, refused):
    preset("lr: 0.1\nlearning_rate: 0.1\nspeed: 3\n")
    assert "unknown keys: learning_rate, speed" in refused("--preset", "mine")


def test_a_value_of_the_wrong_type_in_a_preset_is_an_error(preset, refused):
    preset("niter: many\n")
    assert "invalid int value: 'many'" in refused("--preset", "mine")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--batch", "4"], "unrecognized arguments: --batch"),  # no abbreviations
        (["stray"], "unrecognized arguments: stray"),
        (["--preset", "nonsense"], "invalid choice: 'nonsense'"),
        (["--preset"], "expected one argument"),
        (["--model", "nonsense"], "known are: colon2depth"),
        (["--label_nc", "1"], "use --label_nc 0"),
        (["--instance_feat"], "depth is learned from RGB"),
        (["--label_feat"], "depth is learned from RGB"),
        (["--name", "a/b"], "one folder name"),
        (["--name", ".."], "one folder name"),
        (["--name", "."], "one folder name"),
        (["--name", ""], "one folder name"),
        (["--seed", "-1"], "--seed -1"),
        (["--lr", "0"], "--lr 0.0"),
        (["--lr", "nan"], "--lr nan"),
        (["--lr", "fast"], "invalid float value"),
        (["--display_max_mm", "0"], "--display_max_mm 0.0"),
        (["--niter", "0", "--niter_decay", "0"], "at least one epoch"),
        (["--niter", "-1"], "--niter -1"),
        (["--max_steps", "0"], "--max_steps 0"),
        (["--print_freq", "0"], "--print_freq 0"),
        (["--batchSize", "0"], "--batch_size 0"),
        (["--videoBatchSize", "0"], "--video_batch_size 0"),
        (["--max_dataset_size", "-1"], "--max_dataset_size -1"),
        (["--loadSize", "0"], "--load_size 0"),
        (["--frame_step", "0"], "--frame_step 0"),
        (["--clip_length", "4"], "invalid choice: 4"),
        (["--nThreads", "-1"], "--num_workers -1"),
        (["--resize_or_crop", "resize_and_crop", "--loadSize", "64", "--fineSize", "65"], "--fine_size 65"),
        (["--resize_or_crop", "stretch"], "invalid choice: 'stretch'"),
        (["--d_every", "0"], "--d_every 0"),
        (["--max_depth_mm", "0"], "--max_depth_mm 0.0"),
        (["--lambda_video", "-1"], "--lambda_video -1.0"),
        (["--precision", "fp8"], "invalid choice: 'fp8'"),
        (["--accumulate", "0"], "--accumulate 0: must be at least 1"),
        (["--accumulate", "half"], "invalid int value: 'half'"),
        (["--ema", "1"], "--ema 1.0: the decay must lie in [0, 1)"),
        (["--ema", "-0.5"], "--ema -0.5: the decay must lie in [0, 1)"),
        (["--ema", "nan"], "--ema nan: the decay must lie in [0, 1)"),
        (["--clip_norm", "-1"], "--clip_norm -1.0: must not be negative"),
        (["--skip_nonfinite", "-1"], "--skip_nonfinite -1: must not be negative"),
        (["--skip_nonfinite", "0.5"], "invalid int value: '0.5'"),
        (["--compile", "yes"], "unrecognized arguments: yes"),
        (["--keep_last", "0"], "--keep_last 0: must be at least 1"),
        (["--continue_train", "--overwrite"], "give one of them"),
        (["--continue_train", "--load_pretrain", "x.pth"], "give one of them"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(refused, args, said):
    assert said in refused(*args)


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("--batchSize", "batch_size"),
        ("--videoBatchSize", "video_batch_size"),
        ("--nThreads", "num_workers"),
        ("--loadSize", "load_size"),
        ("--fineSize", "fine_size"),
    ],
)
def test_published_spellings_set_the_same_option(published, ours):
    for flag in (published, f"--{ours}"):
        opt = vars(parse(flag, "3"))
        assert opt[ours] == 3
        assert published.lstrip("-") not in opt


@pytest.mark.parametrize(
    ("text", "count", "gpu_ids"),
    [("0", 1, [0]), ("0,1", 2, [0, 1]), ("3, 1", 4, [3, 1]), ("-1", 4, []), ("0", 0, []), ("0,1", 0, [])],
)
def test_gpu_ids_become_a_list(gpus, capsys, text, count, gpu_ids):
    gpus(count)
    assert parse("--gpu_ids", text, cpu=False).gpu_ids == gpu_ids
    said = capsys.readouterr().err
    assert said.count("\n") == (count == 0)
    assert ("running on the CPU" in said) == (count == 0)


@pytest.mark.parametrize("text", ["1", "0,0", "zero", "", "0,,1", "-1,0", "0,-1", "-2"])
def test_gpu_ids_that_cannot_be_are_refused(gpus, refused, text):
    gpus(1)
    assert "--gpu_ids" in refused("--gpu_ids", text, cpu=False)


def test_streams_follow_the_weights_of_the_video_loss():
    assert parse("--lambda_video", "0").streams == ["synthetic", "video"]
    assert parse("--lambda_video", "0", "--lambda_video_step", "0").streams == ["synthetic"]


def test_help_lists_every_group_and_ends_with_0(capsys):
    with pytest.raises(SystemExit) as caught:
        TrainOptions().parse(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for group in ("run:", "training:", "data:", "preprocessing:", "pairs:", "video clips:", "colon2depth: losses:"):
        assert f"\n{group}\n" in text
    assert "--d_every" in text


@pytest.mark.parametrize("name", model_names())
def test_every_method_parses_with_its_defaults(name):
    assert parse("--model", name).model == name


def test_options_survive_yaml():
    opt = parse("--dataroot", "some/where", "--vgg_weights", "vgg.pth", "--lr", "3e-5", "--max_steps", "9")
    text = yaml.safe_dump(to_plain(opt))
    parser = new_parser("")
    train_options.add_training_options(parser)
    train_options.add_engine_options(parser)
    add_run_options(parser)
    add_base_options(parser)
    data.add_options(parser, is_train=True)
    find_model("colon2depth").add_options(parser, True)
    back = from_plain(parser, yaml.safe_load(text))
    assert back == {name: value for name, value in vars(opt).items() if name in back}
    assert isinstance(back["dataroot"], Path)
    assert back["flow_weights"] is None
    assert set(vars(opt)) - set(back) == {"is_train", "streams", "video_parts", "preset", "model"}


def test_declared_by_names_what_was_added_and_nothing_before():
    parser = new_parser("")
    parser.add_argument("--before")
    assert declared_by(parser, lambda p, flag: p.add_argument(flag), "--new") == {"new"}

"""A file of weights may come from anybody: by whatever way it is read, nothing in it is run."""

import pytest
import torch

import test as test_program
import train as train_program
from tests.damage import Hostile
from tests.tiny_run import call, tiny_args, write_data_set


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("set") / "data")


# By what flags a file of this name enters; {runs} is the folder of runs, {file} the file.
ENTRANCES = {
    "continued": ("latest.pth", train_program, ["--continue_train"]),
    "continued from an epoch": ("40.pth", train_program, ["--continue_train", "--which_epoch=40"]),
    "another run's checkpoint": ("latest.pth", train_program, ["--name=new", "--load_pretrain={file}"]),
    "another run's folder": ("latest.pth", train_program, ["--name=new", "--load_pretrain={runs}/demo"]),
    "pretrained bare": ("latest_net_G.pth", train_program, ["--name=new", "--load_pretrain={file}"]),
    "pretrained exported": ("demo.safetensors", train_program, ["--name=new", "--load_pretrain={file}"]),
    "tested": ("latest.pth", test_program, []),
    "tested by file": ("latest.pth", test_program, ["--checkpoint={file}"]),
    "tested bare": ("latest_net_G.pth", test_program, []),
    "tested bare by file": ("x_net_G.pth", test_program, ["--checkpoint={file}"]),
    "tested bare of another method": ("latest_net_depth.pth", test_program, ["--model=sc_depth"]),
    "tested Lightning": ("x.ckpt", test_program, ["--model=sc_depth", "--checkpoint={file}"]),
    "tested exported": ("demo.safetensors", test_program, ["--checkpoint={file}"]),
    "tested before": ("latest_1.pth", test_program, []),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_hostile_file_is_named_and_nothing_in_it_is_run(dataroot, tmp_path, entrance, legacy):
    name, program, flags = ENTRANCES[entrance]
    runs, file, made = tmp_path / "runs", tmp_path / "runs" / "demo" / name, tmp_path / "made"
    file.parent.mkdir(parents=True)
    hostile = {"format": 2, "networks": {}, "options": {}, "extra": Hostile(f"touch {made}")}
    torch.save(hostile, file, _use_new_zipfile_serialization=not legacy)
    args = [f"--checkpoints_dir={runs}", "--name=demo", *(flag.format(runs=runs, file=file) for flag in flags)]
    args += [f"--dataroot={dataroot}", "--gpu_ids=-1"] if program is test_program else tiny_args(dataroot)
    outcome = call(program.main, *args)
    assert outcome.code == 2
    assert len(outcome.errors) == 1, outcome.err
    assert outcome.errors[0].startswith(f"error: {file} ")
    assert "safetensors" in name or "Python objects, which are never loaded" in outcome.err
    assert "weights_only" not in outcome.err
    assert not made.exists()
    with file.open("rb") as stream:
        torch.load(stream, weights_only=False)
    assert made.exists()  # it was hostile indeed

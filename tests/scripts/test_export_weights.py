"""Exporting a run: one file that tests to the bit as the run itself does."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import test as test_program
from evaluation.scores import References
from models import create_model
from options.base_options import to_plain
from tests.tiny_run import call, tiny_options, write_data_set
from util.checkpoint import load_checkpoint, save_checkpoint
from util.exported_weights import read_exported

ROOT = Path(__file__).parents[2]
REFERENCES = vars(References(90.0, 60.0))


@pytest.fixture
def export():
    """The program's ``main``."""
    spec = importlib.util.spec_from_file_location("export_weights", ROOT / "scripts" / "export_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *args: call(module.main, *args)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of runs with one of them, ``demo``: generator, discriminator, and averages of the generator."""
    root = tmp_path_factory.mktemp("run")
    opt = tiny_options("--name=demo", "--ema=0.99", dataroot=write_data_set(root / "data"))
    torch.manual_seed(0)
    states = [{name: network.state_dict() for name, network in create_model(opt).networks().items()} for _ in range(2)]
    state = {"model": opt.model, "options": to_plain(opt), "networks": states[0], "ema": {"net_G": states[1]["net_G"]}}
    state |= {"inference_networks": ["net_G"], "facts": {"references": REFERENCES}, "iteration": 12}
    save_checkpoint(root / "checkpoints" / "demo", "latest", state)
    return root / "checkpoints"


def run_test(tmp_path, *args):
    """Test and give back the metrics and the depth maps, by file name."""
    outcome = call(test_program.main, "--gpu_ids=-1", f"--results_dir={tmp_path / 'results'}", "--save_npy", *args)
    assert outcome.code == 0, outcome.err
    (metrics,) = (tmp_path / "results").rglob("metrics.json")
    depths = {path.name: path.read_bytes() for kind in ("depth", "npy") for path in (metrics.parent / kind).iterdir()}
    return metrics.parent, json.loads(metrics.read_text()), depths


@pytest.mark.parametrize("ema", [[], ["--use_ema"]], ids=["last", "averaged"])
def test_exported_file_tests_to_the_bit_as_the_checkpoint_does(run, export, tmp_path, ema):
    file = tmp_path / "elsewhere" / "clinic.safetensors"
    assert export("--name=demo", f"--checkpoints_dir={run}", "--out", file, *ema).code == 0
    folder, metrics, depths = run_test(tmp_path / "a", f"--checkpoints_dir={run}", "--name=demo", *ema)
    assert folder.relative_to(tmp_path / "a" / "results") == Path("demo") / f"test_latest{'_ema' if ema else ''}"
    alone, metrics_alone, depths_alone = run_test(tmp_path / "b", "--checkpoint", file)
    assert alone.relative_to(tmp_path / "b" / "results") == Path("clinic/test_exported")
    assert len(depths) == 3 * 2 + 1  # PNG and float32 of 3 frames, depth.json
    assert metrics.pop("checkpoint") == str(run / "demo" / "latest.pth")
    assert metrics.pop("weights", "") == ("averaged (--use_ema)" if ema else "")
    assert metrics_alone.pop("checkpoint") == str(file)
    assert metrics == metrics_alone
    assert set(metrics["tables"]["Not aligned"]) == {"ours", "constant", "brightness"}
    for name in depths.keys() - {"depth.json"}:
        assert depths[name] == depths_alone[name], name


def test_averages_predict_otherwise_than_the_last_weights(run, tmp_path):
    args = [f"--checkpoints_dir={run}", "--name=demo"]
    _, _, last = run_test(tmp_path / "a", *args)
    _, _, averaged = run_test(tmp_path / "b", *args, "--use_ema")
    assert last["020.npy"] != averaged["020.npy"]


def test_it_says_what_it_wrote_and_how_to_test_it(run, export):
    outcome = export("--name=demo", f"--checkpoints_dir={run}")
    assert outcome.code == 0, outcome.err
    file = run / "demo" / "demo.safetensors"
    weights = load_checkpoint(run / "demo" / "latest.pth")["networks"]["net_G"]
    count, size = sum(tensor.numel() for tensor in weights.values()), file.stat().st_size
    assert outcome.out == (
        f"{file}: net_G of latest.pth, {count:,} parameters, {size / 1e6:.1f} MB\n"
        f"test it by: bash scripts/test.sh --checkpoint {file}\n"
    )
    assert read_exported(file)["facts"] == {"references": REFERENCES}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--name=frist"], "no run 'frist' in"),
        (["--name=demo", "--which_epoch=7"], "has no checkpoint '7'; it has: latest"),
        (["--name=demo", "--out=a.pth"], "choose such a name"),
        ([], "--name"),
        (["--name=demo", "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_mistake_is_one_line_and_code_2(run, export, args, said):
    outcome = export(f"--checkpoints_dir={run}", *args)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert said in outcome.err


def test_shell_script_runs_the_program_from_anywhere(run, tmp_path):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    command = ["bash", ROOT / "scripts" / "export_weights.sh", "--name=demo", f"--checkpoints_dir={run}"]
    command += ["--use_ema", f"--out={tmp_path / 'a b.safetensors'}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "net_G of latest.pth, averaged, " in done.stdout
    assert f"--checkpoint '{tmp_path / 'a b.safetensors'}'" in done.stdout
    assert np.isfinite(next(iter(read_exported(tmp_path / "a b.safetensors")["ema"]["net_G"].values())).numpy()).all()

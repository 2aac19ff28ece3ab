"""The commands in the README and in other pages for users are ones that work."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from data.check.command import parse as parse_check
from data.pack import parse as parse_pack
from data.prepare_video import parse as parse_prepare_video
from data.run_sfm.options import parse as parse_run_sfm
from data.simulate_sfm import parse as parse_simulate_sfm
from options.base_options import to_plain
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.checkpoint import save_checkpoint

ROOT = Path(__file__).parents[2]
PAGES = (
    *("README.md", "datasets/README.md", "checkpoints/README.md"),
    *("docs/scaling.md", "docs/own-video.md", "docs/methods/sc_depth.md", "docs/methods/sfm_depth.md"),
)
LAUNCHED = re.compile(r"(?:torchrun [^`\n]*train\.py|(?:bash|sbatch) [^`\n]*train_multinode\.sh) ([^`\n]+)")


def commands() -> list[str]:
    """Command lines in code blocks and in backticks that start a program of ours."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        found += re.findall(r"(?:python|bash) [^`\n]+", text)
    return found


def launched() -> list[str]:
    """Arguments of ``train.py`` where a launcher starts it, but for sketches with three dots."""
    found = [arguments for page in PAGES for arguments in LAUNCHED.findall((ROOT / page).read_text(encoding="utf-8"))]
    return [arguments for arguments in found if "..." not in arguments]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Runs, inputs and a checkpoint without weights of every name that the commands mention, in the current folder."""
    monkeypatch.chdir(tmp_path)
    tests = [shlex.split(command) for command in commands() if command.startswith("python test.py")]
    for path in {words[words.index("--input") + 1] for words in tests if "--input" in words}:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch() if Path(path).suffix else (tmp_path / path).mkdir()
    for name in {words[words.index("--name") + 1] for words in tests if "--name" in words}:
        opt = TrainOptions().parse(["--name", name, "--gpu_ids", "-1"])
        state = {"options": to_plain(opt), "networks": {}, "ema": {"net_G": {}}}
        save_checkpoint(tmp_path / "checkpoints" / name, "latest", state)
    for file in {words[words.index("--checkpoint") + 1] for words in tests if "--checkpoint" in words}:
        torch.save({"state_dict": {"depth_net.weight": torch.ones(1)}, "hyper_parameters": {}}, tmp_path / file)


def test_the_pages_have_commands():
    assert sum(command.startswith("python train.py") for command in commands()) >= 2
    assert sum(command.startswith("python test.py") for command in commands()) >= 3


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("python train.py")])
def test_train_commands_parse(command):
    model = next((name for name in ("sc_depth", "sfm_depth") if f"--preset {name}" in command), "colon2depth")
    assert TrainOptions().parse(shlex.split(command)[2:]).model == model


def test_launched_train_commands_parse():
    assert len(launched()) >= 4
    for arguments in launched():
        assert TrainOptions().parse(shlex.split(arguments)).model == "colon2depth"


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("python test.py")])
@pytest.mark.usefixtures("runs")
def test_test_commands_parse(command):
    assert TestOptions().parse(shlex.split(command)[2:]).checkpoint_file.is_file()


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith(("bash", "python -m"))])
def test_scripts_and_modules_exist(command):
    words = shlex.split(command)
    if words[0] == "bash":
        assert (ROOT / words[1]).is_file()
    else:
        module = ROOT / words[2].replace(".", "/")
        assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()


PARSERS = {
    "data.prepare_video": parse_prepare_video,
    "data.check": parse_check,
    "data.pack": parse_pack,
    "data.run_sfm": parse_run_sfm,
    "data.simulate_sfm": parse_simulate_sfm,
}


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("python -m") and c.split()[2] in PARSERS])
def test_tools_take_their_commands(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in re.findall(r"datasets/[\w/]+", command):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    words = shlex.split(command)
    if not any(word.isupper() or word.startswith("[") for word in words):  # a pattern, not a command
        PARSERS[words[2]](words[3:])


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target

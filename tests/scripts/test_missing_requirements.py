"""What an environment lacks: versions are compared as numbers, and builds of one module replace each other."""

import importlib.util
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "missing_requirements.py"


@pytest.fixture
def script(monkeypatch):
    """The script's functions, in an environment with these distributions only."""
    spec = importlib.util.spec_from_file_location("missing_requirements", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def version(name):
        there = {"torch": "2.6.0+cu124", "tqdm": "4.9", "opencv-contrib-python": "4.10.0", "embreex": "2.17.7.post5"}
        if name not in there:
            raise PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(module, "version", version)
    return module


@pytest.mark.parametrize(
    ("requirement", "met"),
    [
        ("torch>=2.6", True),
        ("torch>=2.6.0", True),
        ("torch>=2.6.1", False),
        ("torch >= 2.5", True),
        ("torch>=2.10", False),
        ("tqdm>=4.66", False),  # 4.9 is before 4.66
        ("tqdm>=4.9.0", True),
        ("scipy>=1.0", False),
        ("embreex>=2.17.7.post5", True),
        ("embreex>=2.17.7.post6", False),
        ("opencv-python-headless>=4.9", True),
        ("opencv-python-headless>=4.11", False),
        ("opencv-python>=4.9", False),
    ],
)
def test_versions_are_numbers(script, requirement, met):
    assert script.is_met(requirement) is met


@pytest.mark.parametrize("requirement", ["torch==2.6", "torch", "torch>=2.6,<3", "-r other.txt"])
def test_a_form_that_it_cannot_judge_is_an_error_and_never_met(script, requirement):
    with pytest.raises(ValueError, match="name>=version"):
        script.is_met(requirement)


def test_what_is_missing_is_printed_a_line_each(script, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("# needed\ntorch>=2.6  # the framework\n\nscipy>=1.11\n")
    (tmp_path / "b.txt").write_text("tqdm>=4.66\n")
    script.main([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")])
    assert capsys.readouterr().out == "scipy>=1.11\ntqdm>=4.66\n"


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-test.txt"])
def test_it_can_judge_the_projects_own_files_with_the_standard_library_alone(file):
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    stated = [line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    assert done.stdout.splitlines() == [line for line in stated if line]  # -S hides all installed distributions

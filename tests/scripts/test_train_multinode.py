"""Training on several machines: what each of them starts, by hand and in SLURM's queue, among stand-ins."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_run import call

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "train_multinode.sh"
BY_HAND = {"NODES": "3", "NODE_RANK": "1", "HEAD": "gpu01.cluster:29500"}
JOB = {"SLURM_JOB_ID": "77", "SLURM_GPUS_ON_NODE": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_CPUS_PER_TASK": "8"}
JOB |= {"SLURM_SUBMIT_DIR": str(ROOT)}
SRUN = ["--kill-on-bad-exit=0", "--wait=60"]

# Has all requirements, counts GPUs, knows the arguments of a job (or a mistake in them), and records what it runs.
PYTHON = """#!/bin/bash
case "$1" in
scripts/missing_requirements.py) ;;
-c) echo "$FAKE_GPUS" ;;
scripts/job_arguments.py)
  shift
  if [ "${1:-}" = --nonsense ]; then echo "error: unrecognized arguments: --nonsense" >&2; exit 2; fi
  for argument in "$@" --told; do printf '%s\\0' "$argument"; done ;;
*) printf '%s\\n' "$@" >"$RECORD/python" ;;
esac
"""
RECORDER = """#!/bin/bash
printf '%s\\n' "$@" >"$RECORD/$(basename "$0")"
exit "${FAKE_CODE:-0}"
"""


@pytest.fixture
def start(tmp_path):
    """Calls the script among stand-ins, and gives back how it ended and what it started, by program."""
    programs = tmp_path / "bin"
    programs.mkdir()
    texts = {"python3": PYTHON, "srun": RECORDER, "scontrol": RECORDER.replace("${FAKE_CODE:-0}", "0")}
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def start(environment, *arguments, script=SCRIPT, gpus="2"):
        ours = {"PATH": f"{programs}:/usr/bin:/bin", "RECORD": str(tmp_path), "FAKE_GPUS": gpus} | environment
        done = subprocess.run(["bash", script, *arguments], cwd=tmp_path, env=ours, capture_output=True, text=True)
        started = {path.name: path.read_text().splitlines() for path in tmp_path.iterdir() if path.is_file()}
        return done, started

    return start


def assert_refused(done, started, *said):
    assert (done.returncode, started) == (2, {}), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for words in said:
        assert words in done.stderr


def test_it_is_a_script_that_bash_understands():
    assert subprocess.run(["bash", "-n", SCRIPT], capture_output=True, text=True, check=True).stderr == ""
    assert os.access(SCRIPT, os.X_OK)


# By hand


def test_each_gpu_of_a_machine_gets_a_process_that_meets_the_others_at_the_head(start):
    done, started = start(BY_HAND, "--preset", "phantom", "--name", "two words")
    assert done.returncode == 0, done.stderr
    where = ["--nnodes", "3", "--node_rank", "1", "--nproc_per_node", "2"]
    where += ["--master_addr", "gpu01.cluster", "--master_port", "29500"]
    program = ["train.py", "--preset", "phantom", "--name", "two words"]
    assert started == {"python": ["-m", "torch.distributed.run", *where, *program]}


def test_number_of_processes_may_be_said(start):
    done, started = start(BY_HAND | {"PROCESSES": "5"}, "--preset", "phantom", gpus="0")
    assert done.returncode == 0, done.stderr
    assert started["python"][6:8] == ["--nproc_per_node", "5"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"NODES": "", "HEAD": ""}, "NODES HEAD not set; call it on each machine as NODES=2"),
        ({"NODE_RANK": ""}, "NODE_RANK not set"),
        ({"NODES": "two"}, "NODES=two: expected the number of machines"),
        ({"NODE_RANK": "3"}, "NODE_RANK=3: machines count from 0 to 2"),
        ({"NODE_RANK": "-1"}, "NODE_RANK=-1: machines count from 0 to 2"),
        ({"HEAD": "gpu01"}, "HEAD=gpu01: expected host:port"),
        ({"PROCESSES": "0"}, "0 processes: there is no GPU here"),
    ],
)
def test_wrong_variables_are_one_line(start, changed, said):
    assert_refused(*start(BY_HAND | changed, "--preset", "phantom"), said)


def test_machine_without_a_gpu_says_how_to_use_its_cpu(start):
    assert_refused(*start(BY_HAND, gpus="0"), "there is no GPU here; PROCESSES=1 uses the CPU")


def test_head_counts_within_a_job_too(start):
    _, started = start(JOB | BY_HAND, "--preset", "phantom")
    assert started.keys() == {"python"}


# In the queue


def test_a_job_runs_a_task_a_gpu_with_its_arguments_and_those_of_going_on(start):
    done, started = start(JOB, "--preset", "phantom", "--name", "two words")
    assert done.returncode == 0, done.stderr
    program = [next(iter(started["srun"][3:])), "train.py", "--preset", "phantom", "--name", "two words", "--told"]
    assert Path(program[0]).name == "python3"
    assert started == {"srun": [*SRUN, "--cpus-per-task=8", *program]}


def test_cpus_of_a_task_are_left_to_slurm_where_nothing_was_said(start):
    _, started = start({**JOB, "SLURM_CPUS_PER_TASK": ""}, "--preset", "phantom")
    assert started["srun"][:2] == SRUN
    assert Path(started["srun"][2]).name == "python3"


def test_saved_run_goes_back_to_the_queue(start):
    done, started = start(JOB | {"FAKE_CODE": "75"}, "--preset", "phantom")
    assert done.returncode == 75
    assert started["scontrol"] == ["requeue", "77"]
    assert done.stderr == "saved; job 77 goes back to the queue\n"


@pytest.mark.parametrize("code", [0, 1, 2, 130, 137])
def test_run_that_ended_otherwise_does_not(start, code):
    done, started = start(JOB | {"FAKE_CODE": str(code)}, "--preset", "phantom")
    assert done.returncode == code
    assert started.keys() == {"srun"}


def test_mistake_in_the_arguments_ends_the_job_before_it_takes_all_machines(start):
    assert_refused(*start(JOB, "--nonsense"), "unrecognized arguments: --nonsense")


def test_fewer_tasks_than_gpus_are_refused(start):
    assert_refused(*start(JOB | {"SLURM_NTASKS_PER_NODE": "1"}), "1 tasks and 4 GPUs a machine; give sbatch the same")


def test_copy_that_sbatch_makes_finds_the_repository_it_was_submitted_in(start, tmp_path):
    copied = shutil.copy(SCRIPT, tmp_path / "bin" / "slurm_script")
    done, started = start(JOB, "--preset", "phantom", script=copied)
    assert done.returncode == 0, done.stderr
    assert started["srun"][4:] == ["train.py", "--preset", "phantom", "--told"]
    elsewhere = {**JOB, "SLURM_SUBMIT_DIR": str(tmp_path / "elsewhere")}
    (tmp_path / "srun").unlink()
    assert_refused(*start(elsewhere, script=copied), "call sbatch in the repository's root")


def test_what_slurm_is_asked_for_fits_the_script():
    lines = SCRIPT.read_text().splitlines()
    asked = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines if line.startswith("#SBATCH"))
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert int(asked["nodes"]) > 1
    assert asked["signal"].startswith("USR1@")  # without "B:": to the tasks, not to the shell
    assert {"requeue", "open-mode"} <= asked.keys()
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:])  # sbatch reads no further


# Arguments of a job


@pytest.fixture
def job_arguments(monkeypatch, capsys):
    """The program that prints them, called with these; or the outcome of a mistake."""
    spec = importlib.util.spec_from_file_location("job_arguments", ROOT / "scripts" / "job_arguments.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def job_arguments(*arguments, restarts=None):
        if restarts is None:
            monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
        else:
            monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
        outcome = call(module.main, *arguments)
        return outcome.out.split("\0")[:-1] if outcome.code == 0 else outcome

    return job_arguments


@pytest.fixture
def run(tmp_path):
    """Arguments that name a run, which has the checkpoint before ``latest`` only."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "latest_1.pth").touch()
    return ["--gpu_ids=-1", "--checkpoints_dir", str(tmp_path), "--name=demo"]


@pytest.mark.parametrize("restarts", [None, 0, 2])
def test_new_run_begins_as_it_was_told_to(job_arguments, tmp_path, restarts):
    told = ["--gpu_ids=-1", f"--checkpoints_dir={tmp_path}", "--name", "new", "--load_pretrain", "a b.pth"]
    assert job_arguments(*told, restarts=restarts) == told


def test_no_arguments_stay_none(job_arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert job_arguments() == []


@pytest.mark.parametrize("restarts", [None, 2])
@pytest.mark.parametrize(
    "beginning", [[], ["--load_pretrain", "a b.pth"], ["--load_pretrain=x.pth", "--which_epoch", "best"]]
)
def test_run_with_a_checkpoint_goes_on_and_forgets_where_it_began(job_arguments, run, beginning, restarts):
    assert job_arguments(*beginning, *run, restarts=restarts) == [*run, "--continue_train"]


@pytest.mark.parametrize("beginning", [["--overwrite"], ["--continue_train", "--which_epoch=best"]])
def test_what_was_told_of_the_beginning_counts_at_the_first_start_alone(job_arguments, run, beginning):
    assert job_arguments(*beginning, *run) == [*beginning, *run]
    assert job_arguments(*beginning, *run, restarts=1) == [*run, "--continue_train"]


def test_mistake_is_one_line_and_no_arguments(job_arguments, run):
    outcome = job_arguments(*run, "--niter", "many")
    assert (outcome.code, outcome.out) == (2, "")
    assert "invalid int value: 'many'" in outcome.err


def test_interpreter_of_the_scripts_runs_it_from_the_root(run):
    """As the script does, with the real one: values with spaces and empty ones arrive as they are."""
    told = [*run, "--dataroot", "", "--dataroot", "c d", "--load_pretrain", "a b.pth"]
    command, requeued = [sys.executable, "scripts/job_arguments.py", *told], os.environ | {"SLURM_RESTART_COUNT": "1"}
    done = subprocess.run(command, cwd=ROOT, env=requeued, capture_output=True, text=True, check=True)
    assert done.stdout.split("\0") == [*run, "--dataroot", "", "--dataroot", "c d", "--continue_train", ""]

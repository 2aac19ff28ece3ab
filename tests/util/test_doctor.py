"""The report on a machine: a line a check, whatever happens in it, and an exit code that tells of faults."""

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F

from util import doctor, doctor_compute, memory_use, video_files
from util.doctor import FAULT, OK, WARNING, Finding, examine, main

GIB = 2**30
Usage = namedtuple("Usage", "total used free")


def report(monkeypatch, capsys, **findings):
    """Exit code and lines of a report on checks that find this."""
    checks = [(title, lambda found=found: found) for title, found in findings.items()]
    monkeypatch.setattr(doctor, "all_checks", lambda options: iter(checks))
    return main([]), capsys.readouterr().out.splitlines()


def with_disk(monkeypatch, total, free):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(total, total - free, free))


def process(program):
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)


def test_each_line_begins_with_its_state_and_warnings_are_no_faults(monkeypatch, capsys):
    code, lines = report(monkeypatch, capsys, disk=Finding(OK, "9 GiB free"), ffmpeg=Finding(WARNING, "not there"))
    assert (code, lines) == (0, ["ok      disk: 9 GiB free", "warning ffmpeg: not there"])


def test_one_fault_makes_the_exit_code(monkeypatch, capsys):
    code, lines = report(monkeypatch, capsys, torch=Finding(FAULT, "broken"), disk=Finding(OK, "9 GiB free"))
    assert (code, lines) == (1, ["FAULT   torch: broken", "ok      disk: 9 GiB free"])


def test_a_check_that_raises_is_a_fault_in_one_line():
    def broken():
        raise RuntimeError("operator does not exist\n  at line 3")

    assert examine(broken) == (FAULT, "RuntimeError: operator does not exist at line 3")


def test_this_machine_gets_a_whole_report(monkeypatch, capsys, tmp_path):
    """All checks as they are, but for compiling, which takes longer than all others."""

    @contextmanager
    def at_once():
        yield process("")

    monkeypatch.setattr(doctor, "compiling", at_once)
    folders = [f"--{name}={tmp_path / name}" for name in ("checkpoints_dir", "dataroot", "results_dir")]
    code = main(folders)
    lines = capsys.readouterr().out.splitlines()
    assert code == any(line.startswith(FAULT) for line in lines)
    assert all(line.startswith(("ok      ", "warning ", "FAULT   ")) for line in lines)
    titles = ["Python: ", "torch: ", "requirements: ", "CUDA: ", "processor: ", f"{tmp_path / 'results_dir'}: "]
    titles += ["shared memory: ", "ffmpeg: ", "video files: ", "convolution on cpu in bf16: ", "torch.compile: "]
    found = [[line[8:].startswith(title) for line in lines].index(True) for title in titles]
    assert found == sorted(found)
    assert f"ok      torch: {torch.__version__}" in lines


def test_without_pytorch_the_other_checks_are_made(monkeypatch, capsys, tmp_path):
    @contextmanager
    def compiling():
        yield process("import sys; sys.exit('No module named torch')")

    monkeypatch.setattr(doctor, "compiling", compiling)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("FAULT   torch: ModuleNotFoundError") for line in lines)
    assert any(line.startswith("FAULT   CUDA: ModuleNotFoundError") for line in lines)
    assert any(line.startswith(("ok      checkpoints", "warning checkpoints")) for line in lines)


def test_an_old_python_is_a_fault(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    state, text = doctor.check_python()
    assert (state, "3.10 or newer is needed" in text) == (FAULT, True)


def test_libraries_are_imported_and_not_only_looked_up(monkeypatch):
    assert examine(lambda: doctor.check_library("torch")) == (OK, torch.__version__)
    monkeypatch.setitem(sys.modules, "cv2", None)  # so that importing it fails
    assert examine(lambda: doctor.check_library("cv2"))[0] == FAULT


def test_missing_requirements_are_named(monkeypatch, tmp_path):
    (tmp_path / "scripts").mkdir()
    shutil.copy(doctor.ROOT / "scripts" / "missing_requirements.py", tmp_path / "scripts")
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    listed = tmp_path / "requirements.txt"
    listed.write_text(f"torch>={torch.__version__.split('+')[0]}\n")
    assert doctor.check_requirements().state == OK
    listed.write_text("torch>=999\nno-such-thing>=1\n")
    state, text = doctor.check_requirements()
    assert (state, text.split(";")[0]) == (FAULT, "missing or too old: torch>=999, no-such-thing>=1")
    listed.write_text("torch==2\n")
    assert doctor.check_requirements().state == FAULT


def test_a_machine_without_gpu_is_warned_of_with_the_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    state, text = doctor.check_cuda()
    assert (state, text.endswith("this PyTorch was built without CUDA")) == (WARNING, True)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert "nvidia-smi is there" in doctor.check_cuda().text
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "nvidia-smi" not in doctor.check_cuda().text


@pytest.mark.parametrize(("free_gib", "state"), [(70, OK), (10, WARNING)])
@pytest.mark.parametrize(
    ("capability", "word"), [((8, 0), "bf16"), ((7, 5), "no bf16 (--precision fp16 saves memory)")]
)
def test_a_gpu_tells_its_memory_and_precision(monkeypatch, free_gib, state, capability, word):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_gib * GIB, 80 * GIB))
    found = doctor.check_gpu("cuda:0")
    assert found.state == state
    assert found.text.split(";")[0] == f"NVIDIA A100, 80.0 GiB, {free_gib}.0 GiB free, {word}"


@pytest.mark.parametrize(("total", "state"), [(2 * GIB, WARNING), (16 * GIB, OK), (None, OK)])
def test_little_memory_is_warned_of(monkeypatch, total, state):
    monkeypatch.setattr(memory_use, "total_bytes", lambda device: total)
    assert doctor.check_processor().state == state


def test_folders_have_room_and_can_be_written(monkeypatch, tmp_path):
    with_disk(monkeypatch, 100 * GIB, 50 * GIB)
    assert doctor.check_folder(tmp_path) == (OK, "50.0 GiB free")
    assert doctor.check_folder(tmp_path / "a" / "b") == (OK, "50.0 GiB free, will be made when needed")
    assert list(tmp_path.iterdir()) == []
    with_disk(monkeypatch, 100 * GIB, 3 * GIB)
    assert doctor.check_folder(tmp_path).state == WARNING


def test_a_folder_that_cannot_be_written_is_a_fault_but_for_data(tmp_path):
    file = tmp_path / "file"
    file.write_text("where a folder should be")
    state, text = doctor.check_folder(file / "checkpoints")
    assert (state, "cannot be written (Not a directory)" in text) == (FAULT, True)
    state, text = doctor.check_folder(file / "data", read_only_will_do=True)
    assert (state, "--flow_cache" in text) == (WARNING, True)


@pytest.mark.parametrize(("free", "state"), [(64 * 2**20, WARNING), (8 * GIB, OK)])
def test_little_shared_memory_is_warned_of(monkeypatch, tmp_path, free, state):
    monkeypatch.setattr(doctor, "SHARED_MEMORY", tmp_path)
    with_disk(monkeypatch, free, free)
    found = doctor.check_shared_memory()
    assert found.state == state
    assert ("--shm-size" in found.text) == (state == WARNING)


def test_systems_without_shared_memory_need_none(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "SHARED_MEMORY", tmp_path / "missing")
    assert doctor.check_shared_memory().state == OK


def test_ffmpeg_is_found_on_the_path_or_missed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.check_ffmpeg().state == WARNING
    program = tmp_path / ("ffmpeg.exe" if os.name == "nt" else "ffmpeg")
    program.write_text("")
    program.chmod(0o755)
    assert doctor.check_ffmpeg() == (OK, str(program))


def test_a_film_is_written_and_read_back(monkeypatch):
    assert doctor.check_video() == (OK, "OpenCV writes .mp4 and reads it back")
    monkeypatch.setattr(video_files, "_can_encode", lambda suffix: False)
    state, text = doctor.check_video()
    assert (state, "films become .avi" in text) == (WARNING, True)


def test_a_film_that_comes_back_different_is_a_fault(monkeypatch):
    read = video_files.read_video_frames
    monkeypatch.setattr(video_files, "read_video_frames", lambda path: (255 - frame for frame in read(path)))
    assert doctor.check_video().state == FAULT
    monkeypatch.setattr(video_files, "read_video_frames", lambda path: list(read(path))[:-1])
    assert doctor.check_video().state == FAULT


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_convolutions_of_this_processor_are_right(precision):
    found = doctor.check_convolution("cpu", precision)
    assert found.state == OK
    error = doctor_compute.convolution_error("cpu", precision)
    assert 0 < error < doctor_compute.TOLERANCES[precision] / 2  # the tolerance is not met by luck
    assert error > {"fp32": 1e-8, "bf16": 1e-3}[precision]  # it was computed in that precision


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("factor", [1.05, float("nan")])
@pytest.mark.parametrize("wrong", ["forward", "backward"])
def test_a_wrong_convolution_is_a_fault(monkeypatch, precision, factor, wrong):
    conv2d = F.conv2d

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * (factor if wrong == "forward" else 1)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * (factor if wrong == "backward" else 1)

    def broken(image, weight, padding):
        output = conv2d(image, weight, padding=padding)
        return output if output.dtype == torch.float64 else Wrong.apply(output)

    monkeypatch.setattr(F, "conv2d", broken)
    assert doctor.check_convolution("cpu", precision).state == FAULT


def test_gpus_without_bf16_are_not_tried_in_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    assert doctor.check_convolution("cuda:0", "bf16") == (OK, "not what this GPU is made for; not tried")


@pytest.mark.parametrize(
    ("program", "finding"),
    [
        ("", (OK, "works")),
        (
            "import sys; sys.stderr.write('W1121 a warning\\n'); sys.exit('InvalidCxxCompiler: none found')",
            (WARNING, "does not work, so leave --compile away: InvalidCxxCompiler: none found"),
        ),
    ],
)
def test_compiling_works_or_the_reason_is_given(program, finding):
    assert doctor.check_compiling(process(program)) == finding


def test_compiling_that_takes_too_long_is_a_warning_and_ended(monkeypatch):
    monkeypatch.setattr(doctor, "COMPILE_TIMEOUT_S", 0.01)
    with doctor.compiling() as begun:
        assert doctor.check_compiling(begun).state == WARNING
    assert begun.returncode is not None


@pytest.mark.slow
def test_torch_compile_is_really_tried(monkeypatch, tmp_path):
    """Without any compiler on the PATH it fails on the CPU, and says so."""
    if torch.cuda.is_available():
        pytest.skip("on a GPU Triton brings its own compiler")
    for name in ("PATH", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("CXX", str(tmp_path / "missing"))
    with doctor.compiling() as begun:
        state, text = doctor.check_compiling(begun)
    assert state == WARNING
    assert "compiler" in text.lower()

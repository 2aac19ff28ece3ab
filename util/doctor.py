"""Is this machine fit for training and testing? ``python -m util.doctor`` prints a line a check.

Each begins with ``ok``, ``warning`` (it works, but; the line says what to do) or ``FAULT``; the exit code is 1 when
there is a FAULT. What is examined is imported within its check, so that a broken library is a line of the report, too.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from util.errors import run_cli
from util.human_units import human_size

ROOT = Path(__file__).parents[1]
GIB = 2**30
OLDEST_PYTHON = (3, 10)
LIBRARIES = ("torch", "torchvision", "numpy", "cv2")
LOW_DISK = 5 * GIB  # a checkpoint of the published networks takes 2.1 GiB, and the old one stays until it is written
LOW_MEMORY = 4 * GIB
LOW_SHARED_MEMORY = 1 * GIB  # Docker's default of 64 MiB holds not even one batch of 8 pictures of 512 pixels
SHARED_MEMORY = Path("/dev/shm")
COMPILE_TIMEOUT_S = 60

OK, WARNING, FAULT = "ok", "warning", "FAULT"


class Finding(NamedTuple):
    """What a check found."""

    state: str
    text: str


Check = Callable[[], Finding]


def main(args: list[str] | None = None) -> int:
    """The report; returns 1 when there is a FAULT, else 0."""
    options = parse(args)
    states = []
    for title, check in all_checks(options):
        finding = examine(check)
        states.append(finding.state)
        sys.stdout.write(f"{finding.state:<8}{title}: {finding.text}\n")
        sys.stdout.flush()
    return int(FAULT in states)


def parse(args: list[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m util.doctor", description="Check this machine for training and testing.")
    parser.add_argument("--checkpoints_dir", type=Path, default=Path("checkpoints"), help="where runs are kept")
    parser.add_argument("--dataroot", type=Path, default=Path("datasets"), help="folder of the data")
    parser.add_argument("--results_dir", type=Path, default=Path("results"), help="where results are written")
    return parser.parse_args(args)


def all_checks(options: Namespace) -> Iterator[tuple[str, Check]]:
    """Titles and checks. Compiling takes longest, so it is begun first, beside the others, and read last."""
    with compiling() as process:
        devices = find_devices()
        yield "Python", check_python
        for name in LIBRARIES:
            yield name, partial(check_library, name)
        yield "requirements", check_requirements
        yield "CUDA", check_cuda
        for device in devices[1:]:
            yield device, partial(check_gpu, device)
        yield "processor", check_processor
        yield str(options.checkpoints_dir), partial(check_folder, options.checkpoints_dir)
        yield str(options.dataroot), partial(check_folder, options.dataroot, read_only_will_do=True)
        yield str(options.results_dir), partial(check_folder, options.results_dir)
        yield "shared memory", check_shared_memory
        yield "ffmpeg", check_ffmpeg
        yield "video files", check_video
        for device in devices:
            for precision in ("fp32", "bf16"):
                yield f"convolution on {device} in {precision}", partial(check_convolution, device, precision)
        yield "torch.compile", partial(check_compiling, process)


def examine(check: Check) -> Finding:
    """The finding in one line; whatever a check raises is a FAULT."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the report says it in its own words
            state, text = check()
    except Exception as error:
        state, text = FAULT, f"{type(error).__name__}: {error}"
    return Finding(state, " ".join(text.split()))


def find_devices() -> list[str]:
    """The CPU, then the GPUs that PyTorch sees; without PyTorch, of which other checks tell, the CPU alone."""
    try:
        import torch

        return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    except Exception:
        return ["cpu"]


def check_python() -> Finding:
    text = f"{sys.version.split()[0]}, {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding(FAULT, f"{text}; {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed")
    return Finding(OK, text)


def check_library(name: str) -> Finding:
    """Imports it: a version alone does not say that a library works."""
    return Finding(OK, importlib.import_module(name).__version__)


def check_requirements() -> Finding:
    command = [sys.executable, "scripts/missing_requirements.py", "requirements.txt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        return Finding(FAULT, f"{' '.join(command[1:])} failed: {done.stderr.strip().splitlines()[-1]}")
    missing = done.stdout.split()
    if missing:
        remedy = "pip install -r requirements.txt -c constraints.txt"
        return Finding(FAULT, f"missing or too old: {', '.join(missing)}; {remedy}")
    return Finding(OK, "all of requirements.txt are installed")


def check_cuda() -> Finding:
    import torch

    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        text = f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, {count} GPU{'s' if count > 1 else ''}"
        return Finding(OK, text)
    text = "no GPU that PyTorch can use, so all runs on the CPU: fine for --preset phantom_quick, slow for others"
    if torch.version.cuda is None:
        text += "; this PyTorch was built without CUDA"
    elif shutil.which("nvidia-smi"):
        text += "; nvidia-smi is there, so look whether it works, and whether CUDA_VISIBLE_DEVICES hides the GPUs"
    return Finding(WARNING, text)


def check_gpu(device: str) -> Finding:
    import torch

    from util.doctor_compute import computes_in

    free, total = torch.cuda.mem_get_info(device)
    bf16 = "bf16" if computes_in(device, "bf16") else "no bf16 (--precision fp16 saves memory)"
    text = f"{torch.cuda.get_device_name(device)}, {human_size(total)}, {human_size(free)} free, {bf16}"
    if free < total / 2:
        return Finding(WARNING, f"{text}; other programs hold the rest (nvidia-smi lists them): choose by --gpu_ids")
    return Finding(OK, text)


def check_processor() -> Finding:
    import torch

    from util.memory_use import total_bytes

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = total_bytes(torch.device("cpu"))
    text = f"{cpus} CPUs, {human_size(memory) if memory else 'unknown'} memory"
    if memory is not None and memory < LOW_MEMORY:
        return Finding(WARNING, f"{text}; little for training: --num_workers 0, small --batch_size and --load_size")
    return Finding(OK, text)


def check_folder(path: Path, read_only_will_do: bool = False) -> Finding:
    """Free space, and whether a file can be made there, or where the folder will be made."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    text = f"{human_size(free)} free{'' if there == path.absolute() else ', will be made when needed'}"
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        if read_only_will_do:
            return Finding(WARNING, f"{text}, cannot be written ({error.strerror}): give --flow_cache for optical flow")
        return Finding(FAULT, f"{text}, cannot be written ({error.strerror}): mend it or name another folder")
    if free < LOW_DISK:
        return Finding(WARNING, f"{text}, little for checkpoints and optical flow: clear up or name another folder")
    return Finding(OK, text)


def check_shared_memory() -> Finding:
    if not SHARED_MEMORY.is_dir():
        return Finding(OK, "this system has no /dev/shm, and loaders need none")
    usage = shutil.disk_usage(SHARED_MEMORY)
    text = f"{human_size(usage.free)} of {human_size(usage.total)} free, through which loaders hand over batches"
    if usage.free < LOW_SHARED_MEMORY:
        return Finding(WARNING, f"{text}; too little: docker run --shm-size=8g, or train with --num_workers 0")
    return Finding(OK, text)


def check_ffmpeg() -> Finding:
    found = shutil.which("ffmpeg")
    if found is None:
        return Finding(WARNING, "not on the PATH; only needed to convert films that OpenCV cannot read")
    return Finding(OK, found)


def check_video() -> Finding:
    """Writes a film of a few grey frames and reads it back."""
    import numpy as np

    from util.video_files import VideoWriter, read_video_frames

    levels = [40, 90, 140, 190]
    with tempfile.TemporaryDirectory() as folder:
        with VideoWriter(Path(folder) / "film.mp4", fps=25) as video:
            for level in levels:
                video.write(np.full((48, 64, 3), level, np.uint8))
        read = [float(frame.mean()) for frame in read_video_frames(video.path)]
    if len(read) != len(levels) or max(abs(a - b) for a, b in zip(read, levels, strict=True)) > 8:
        return Finding(FAULT, f"{video.path.suffix} comes back as grey levels {read}, written were {levels}")
    if video.path.suffix != ".mp4":
        return Finding(
            WARNING, f"this OpenCV writes no .mp4: films become {video.path.suffix}; another build can do it"
        )
    return Finding(OK, "OpenCV writes .mp4 and reads it back")


def check_convolution(device: str, precision: str) -> Finding:
    from util.doctor_compute import TOLERANCES, computes_in, convolution_error

    if not computes_in(device, precision):
        return Finding(OK, "not what this GPU is made for; not tried")
    error, tolerance = convolution_error(device, precision), TOLERANCES[precision]
    text = f"forward and backward differ from float64 by {error:.1e}"
    if not error <= tolerance:  # so that nan is none either
        return Finding(
            FAULT, f"{text}, more than {tolerance:.0e}: do not train on it; is the driver or library broken?"
        )
    return Finding(OK, text)


@contextmanager
def compiling() -> "Iterator[subprocess.Popen[str]]":
    """Begin to compile a tiny function, in a process of its own, which does not outlive the block."""
    command = [sys.executable, "-m", "util.doctor_compute"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def check_compiling(process: "subprocess.Popen[str]") -> Finding:
    try:
        reason = process.communicate(timeout=COMPILE_TIMEOUT_S)[1]
    except subprocess.TimeoutExpired:
        return Finding(
            WARNING, f"not ready after {COMPILE_TIMEOUT_S} s more than all else took: --compile would be slow"
        )
    if process.returncode != 0:
        return Finding(WARNING, f"does not work, so leave --compile away: {reason.strip().splitlines()[-1]}")
    return Finding(OK, "works")


if __name__ == "__main__":
    run_cli(main)

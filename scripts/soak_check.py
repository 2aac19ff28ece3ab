"""Which files of a run claim to be whole, and whether they are: for ``scripts/soak.py``."""

import json
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
import yaml

from data.image_files import read_picture
from util.checkpoint import load_checkpoint, read_undamaged

APPENDED = ("loss_log.txt", "events.out.tfevents.*")  # these grow line by line, and may end anywhere
LOCKS = (".*.lock", ".*.lock.json")
LEFTOVERS = ".*.[0-9]*.partial*"  # see util.files.atomic_path


class WholeFiles:
    """Looks at every file under some folders, again only at those that have changed.

    Args:
        pairs: pairs of frames by clip, that is the length of its flow.
    """

    def __init__(self, pairs: Mapping[str, int]) -> None:
        self.pairs = pairs
        self.checked = 0
        self._known: dict[Path, tuple[int, int, int]] = {}

    def damage(self, *folders: Path) -> list[str]:
        """What is wrong, a line for each file that claims to be whole and is not."""
        found = []
        for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
            if any(fnmatch(path.name, pattern) for pattern in (*APPENDED, *LOCKS, LEFTOVERS)):
                continue
            stat = path.stat()
            state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if self._known.get(path) == state:
                continue
            self.checked += 1
            problem = self._problem(path)
            if problem:
                found.append(f"{path}: {problem}")
            else:
                self._known[path] = state
        return found

    def _problem(self, path: Path) -> str:
        check = next((check for pattern, check in CHECKS.items() if fnmatch(path.name, pattern)), None)
        if check is None:
            return "nobody knows how to check such a file"
        try:
            check(path)
            if path.name == "source.json":
                check_flow(path.parent, self.pairs[path.parent.name])
        except Exception as error:  # whatever is made of damage is damage
            return f"{type(error).__name__}: {error}"
        return ""


def check_flow(folder: Path, pairs: int) -> None:
    """Flow and masks of a clip, for all its pairs."""
    for name in ("flow.npy", "mask.npy"):
        length = len(np.load(folder / name))
        if length != pairs:
            raise ValueError(f"{name} has {length} pairs, the clip {pairs}")


def check_page(path: Path) -> None:
    """The page ends where a page ends, and its pictures are there."""
    text = path.read_text(encoding="utf-8")
    if not text.rstrip().endswith("</html>"):
        raise ValueError("it is cut off")
    missing = [source for source in re.findall(r'src="([^"]+)"', text) if not (path.parent / source).is_file()]
    if missing:
        raise ValueError(f"it shows pictures that are not there, e.g. {missing[0]}")


def check_options(path: Path) -> None:
    if "model" not in yaml.safe_load(path.read_text(encoding="utf-8")):
        raise ValueError("it is cut off")


CHECKS: dict[str, Callable[[Path], object]] = {
    "*_net_*.pth": read_undamaged,
    "*.pth": load_checkpoint,
    "*.png": read_picture,
    "*.npy": np.load,
    "*.json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    "*.html": check_page,
    "*.yaml": check_options,
}


def leftovers(*folders: Path) -> list[Path]:
    """Half-written files of processes that were killed."""
    return sorted(path for folder in folders for path in folder.rglob(LEFTOVERS))


def differences(a: object, b: object, where: str = "") -> list[str]:
    """Where two states of tensors and plain values are not equal to the bit."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [line for key in a for line in differences(a[key], b[key], f"{where}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [line for index in range(len(a)) for line in differences(a[index], b[index], f"{where}/{index}")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if torch.equal(a, b) else [where]
    return [] if a == b else [where]

"""Print the requirements that the running Python lacks, one a line; nothing when it has all. Standard library only."""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Different builds of one module: any of them will do.
SAME_MODULE = {
    "opencv-python-headless": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
}


def main(files: list[str]) -> None:
    for file in files:
        for line in Path(file).read_text(encoding="utf-8").splitlines():
            requirement = line.split("#")[0].strip()
            if requirement and not is_met(requirement):
                print(requirement)


def is_met(requirement: str) -> bool:
    """Whether an installed distribution satisfies ``name>=bound``."""
    parts = re.fullmatch(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9][\w.]*)", requirement)
    if parts is None:
        raise ValueError(f"{requirement!r}: requirements here are written name>=version")
    name, bound = parts.groups()
    return any(numbers(found) >= numbers(bound) for found in installed(SAME_MODULE.get(name, (name,))))


def installed(names: tuple[str, ...]) -> list[str]:
    """Versions of those distributions that are there."""
    found = []
    for name in names:
        try:
            found.append(version(name))
        except PackageNotFoundError:
            continue
    return found


def numbers(text: str) -> list[int]:
    """``"2.17.7.post5"`` -> [2, 17, 7, 5]; what follows a ``+`` names a build, and zeros at the end add nothing."""
    parts = [int(part) for part in re.findall(r"\d+", text.split("+")[0])]
    while parts and parts[-1] == 0:
        parts.pop()
    return parts


if __name__ == "__main__":
    main(sys.argv[1:])

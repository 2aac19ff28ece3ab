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
    name, bound = re.fullmatch(r"([A-Za-z0-9_.-]+)>=(\S+)", requirement).groups()
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
    """``"2.17.7.post5"`` -> [2, 17, 7, 5]; what follows a ``+`` names a build, not a version."""
    return [int(part) for part in re.findall(r"\d+", text.split("+")[0])]


if __name__ == "__main__":
    main(sys.argv[1:])

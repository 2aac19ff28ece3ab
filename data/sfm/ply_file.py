"""Points in PLY files that are text."""

from pathlib import Path

import numpy as np

from data.sfm.text_files import read_lines, to_number
from util.errors import UserError

AXES = "xyz"


def read_ply_points(file: Path) -> np.ndarray:
    """x, y and z of the element vertex, float64 (N, 3).

    Raises:
        UserError: it is no PLY file, not as text, or damaged; says in which line.
    """
    lines = read_lines(file)
    elements, body = _read_header(file, lines)
    rows = [(at, line.split()) for at, line in enumerate(lines[body:], start=body + 1) if line.strip()]
    expected = sum(count for count, _ in elements.values())
    if len(rows) != expected:
        raise UserError(
            f"{file} ends in line {len(lines)} with {len(rows)} lines behind its header, which promises {expected}; it "
            "is truncated, or its header is wrong"
        )
    first = sum(count for count, _ in list(elements.values())[: list(elements).index("vertex")])
    count, names = elements["vertex"]
    points = np.empty((count, 3))
    for point, (line, words) in zip(points, rows[first : first + count], strict=True):
        if len(words) != len(names):
            raise UserError(
                f"{file}, line {line}: expected {len(names)} numbers ({', '.join(names)}), got {len(words)}"
            )
        point[:] = [to_number(words[names.index(axis)], float, f"{file}, line {line}") for axis in AXES]
    return points


def _read_header(file: Path, lines: list[str]) -> tuple[dict[str, tuple[int, list[str]]], int]:
    """Each element's count and properties, and how many lines the header has."""
    elements: dict[str, tuple[int, list[str]]] = {}
    if not lines or lines[0].strip() != "ply":
        raise UserError(f"{file}, line 1: expected ply, which a file of points begins with")
    for at, line in enumerate(lines[1:], start=2):
        match line.split():
            case ["format", kind, *_] if kind != "ascii":
                raise UserError(f"{file}, line {at}: points must be stored as text (format ascii 1.0), not as {kind}")
            case ["element", name, count]:
                elements[name] = (to_number(count, int, f"{file}, line {at}"), [])
            case ["property", *_, name] if elements:
                list(elements.values())[-1][1].append(name)
            case ["end_header"]:
                if not set(AXES) <= set(elements.get("vertex", (0, []))[1]):
                    raise UserError(f"{file}, line {at}: the header has no element vertex with x, y and z")
                return elements, at
    raise UserError(f"{file} ends in line {len(lines)} within its header; it is truncated")

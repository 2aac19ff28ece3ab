"""Files of registration: surfaces and clouds as PLY, OBJ or STL, and where a registration starts, as JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from models.geometry.registration import MIN_POINTS
from models.geometry.similarity import Similarity
from models.geometry.surface import SAMPLES, Surface
from util.errors import UserError

SUFFIXES = (".ply", ".obj", ".stl")
START_EXAMPLE = '{"scale": 1.0, "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [0, 0, 0]}'
ROUNDED = 1e-3  # by so much may a matrix that somebody has typed miss a rotation


def read_surface(path: Path, samples: int = SAMPLES, seed: int = 0) -> Surface:
    """The surface in a file: a mesh, or plain points as they are.

    Args:
        path: PLY, OBJ or STL.
        samples: about how many points are drawn on a mesh, see ``Surface.from_mesh``.
        seed: of the drawing.

    Raises:
        UserError: there is no such file, it is damaged or of another kind, or it holds no surface.
    """
    vertices, faces = _read_geometry(path)
    try:
        return Surface(vertices) if faces is None else Surface.from_mesh(vertices, faces, samples, seed)
    except ValueError as error:
        raise UserError(f"{path} is no surface to register to: {error}") from error


def read_cloud(path: Path) -> np.ndarray:
    """The points in a file, or the vertices of the mesh in it: float64, (N, 3).

    Raises:
        UserError: there is no such file, it is damaged or of another kind, or its points cannot be registered.
    """
    points, _ = _read_geometry(path)
    if len(points) < MIN_POINTS:
        raise UserError(f"{path} has {len(points)} points; at least {MIN_POINTS} are needed to register them")
    if not np.isfinite(points).all():
        raise UserError(f"{path} has points that are not finite; write it again without them")
    return points


def read_start(path: Path) -> Similarity:
    """The similarity in a file like ``START_EXAMPLE``: surface = scale * rotation @ cloud + translation.

    Raises:
        UserError: there is no such file, or it holds no similarity.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        scale = float(content["scale"])
        rotation, translation = (np.array(content[name], dtype=np.float64) for name in ("rotation", "translation"))
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}; a start is written like {START_EXAMPLE}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no start ({error!r}); one is written like {START_EXAMPLE}") from error
    if rotation.shape != (3, 3) or translation.shape != (3,):
        raise UserError(f"{path}: rotation must be 3x3 and translation have 3 numbers, as in {START_EXAMPLE}")
    if not (np.isfinite([scale, *rotation.flat, *translation]).all() and scale > 0):
        raise UserError(f"{path}: all numbers must be finite and the scale positive, as in {START_EXAMPLE}")
    U, stretches, Vt = np.linalg.svd(rotation)
    if np.abs(stretches - 1).max() > ROUNDED or np.linalg.det(rotation) < 0:
        raise UserError(f"{path}: rotation is none; its columns must be perpendicular unit vectors, without a mirror")
    return Similarity(scale, U @ Vt, translation)


def start_to_json(similarity: Similarity) -> dict[str, Any]:
    """What ``read_start`` reads."""
    rotation, translation = similarity.rotation.tolist(), similarity.translation.tolist()
    return {"scale": float(similarity.scale), "rotation": rotation, "translation": translation}


def _read_geometry(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Vertices (V, 3), and faces (F, 3) where there are some."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: surfaces and clouds are {', '.join(SUFFIXES)} files")
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        loaded = trimesh.load(path, process=False)
        if isinstance(loaded, trimesh.Scene):  # several objects in one file
            loaded = trimesh.util.concatenate(loaded.dump())
        vertices, faces = np.array(loaded.vertices, dtype=np.float64), getattr(loaded, "faces", None)
    except OSError:
        raise
    except Exception as error:  # parsers stumble over damaged files in many ways, and few say what is wrong
        raise UserError(f"{path} is damaged, or no {path.suffix} file: it cannot be read; write it again") from error
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices):
        raise UserError(f"{path} holds no points")
    return vertices, None if faces is None or not len(faces) else np.array(faces)

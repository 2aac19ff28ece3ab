"""One colon, ready to be looked at."""

from dataclasses import dataclass

import numpy as np

from data.phantom.centreline import Centreline, random_centreline
from data.phantom.mesh import Mesh, merge_meshes
from data.phantom.polyps import build_stalked_mesh, random_polyps
from data.phantom.raycast import Raycaster
from data.phantom.surface import build_wall_mesh, random_wall

MIN_LENGTH_MM, MAX_LENGTH_MM = 300.0, 420.0


@dataclass(frozen=True)
class Colon:
    """Centreline, mesh and ray caster of one colon."""

    centreline: Centreline
    mesh: Mesh
    raycaster: Raycaster


def random_colon(rng: np.random.Generator) -> Colon:
    """Draw a colon and build its mesh."""
    centreline = random_centreline(rng, rng.uniform(MIN_LENGTH_MM, MAX_LENGTH_MM))
    sessile, stalked = random_polyps(rng, centreline)
    wall = random_wall(rng, centreline, sessile)
    pieces = [build_wall_mesh(centreline, wall)]
    pieces += [build_stalked_mesh(centreline, polyp) for polyp in stalked]
    mesh = merge_meshes(pieces)
    return Colon(centreline, mesh, Raycaster(mesh))

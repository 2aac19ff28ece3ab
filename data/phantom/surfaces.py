"""The surfaces of the phantom's clips, for tests that register clouds to one: ``python -m data.phantom.surfaces DIR``.

Writes ``DIR/truth/<split>/<clip>/surface.ply``, in the world of the clip's poses [mm]. Nothing is rendered: the colon
of a clip follows from the seed that ``phantom.json`` keeps.
"""

import json
import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from pathlib import Path

import trimesh

from data.phantom.colon import random_colon
from data.phantom.mesh import Mesh
from data.phantom.plan import VIDEO_SPLITS, plan_tasks
from data.phantom.render import GENERATOR_VERSION
from util.errors import UserError, run_cli
from util.files import write_bytes
from util.progress import progress_bar

SURFACE = "surface.ply"


def main() -> None:
    parser = ArgumentParser("python -m data.phantom.surfaces", formatter_class=ArgumentDefaultsHelpFormatter)
    parser.description = "Write the meshes of the phantom's clips beside their truth."
    parser.add_argument("dataroot", type=Path, help="a rendered phantom")
    parser.add_argument("--split", choices=VIDEO_SPLITS, default="video_test", help="whose clips")
    opt = parser.parse_args()
    files = write_surfaces(opt.dataroot, opt.split)
    sys.stdout.write("".join(f"{file}\n" for file in files))


def write_surfaces(dataroot: Path, split: str) -> list[Path]:
    """Write the surface of each clip of a split, and return the files.

    Raises:
        UserError: the folder is no phantom, or one of another version of the generator, whose colons are others.
    """
    frames, seed = _made_with(dataroot / "phantom.json")
    tasks = [task for task in plan_tasks(frames, seed) if task.split == split]
    files = []
    with progress_bar(len(tasks), f"surfaces of {split}", "clips") as bar:
        for task in tasks:
            file = dataroot / "truth" / split / task.name / SURFACE
            write_bytes(file, as_ply(random_colon(task.generators()[0]).mesh))
            files.append(file)
            bar.update(1)
    return files


def as_ply(mesh: Mesh) -> bytes:
    """The mesh's triangles as a binary PLY file."""
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file_type="ply")


def _made_with(file: Path) -> tuple[int, int]:
    """Number of training pairs and seed of a phantom."""
    if not file.is_file():
        raise UserError(f"there is no {file}: only a rendered phantom has surfaces (python -m data.phantom --out DIR)")
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        version, frames, seed = fields["version"], int(fields["frames"]), int(fields["seed"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged ({error!r}); render the phantom again") from None
    if version != GENERATOR_VERSION:
        raise UserError(
            f"{file} is of version {version} of the generator, whose colons are others than those of version "
            f"{GENERATOR_VERSION}; render the phantom again"
        )
    return frames, seed


if __name__ == "__main__":
    run_cli(main)

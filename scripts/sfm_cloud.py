"""A picture of what a network makes of SfM's points: ``python scripts/sfm_cloud.py RESULT_FOLDER OUT.png [NAME]``.

RESULT_FOLDER is that of a test with ``--save_ply`` of clips with SfM. Shown of its frame NAME (or the first one): the
frame, SfM's points, the depth of all pixels, and the dense cloud from the front, from the right and from above.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import trimesh

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.image_files import read_rgb, write_picture  # noqa: E402 - the project's root has to be on the path first
from util.cloud_picture import draw_cloud  # noqa: E402
from util.colormap import side_by_side  # noqa: E402
from util.errors import UserError, run_cli  # noqa: E402

WIDTH = 480  # of each picture [px]
PICTURES = {"input": "frame", "sfm_points": "SfM points", "relative_depth": "depth of all pixels"}
SIDES = {"the cloud, as seen": (0.0, 0.0), "from the right": (40.0, 10.0), "from above": (0.0, 50.0)}  # yaw and pitch


def main() -> None:
    if len(sys.argv) not in (3, 4):
        raise UserError("usage: python scripts/sfm_cloud.py RESULT_FOLDER OUT.png [NAME]")
    folder, out = map(Path, sys.argv[1:3])
    clouds = {
        str(file.relative_to(folder / "ply").with_suffix("")): file for file in sorted((folder / "ply").rglob("*.ply"))
    }
    if not clouds:
        raise UserError(f"{folder} has no ply/: run test.py with --save_ply")
    name = sys.argv[3] if len(sys.argv) == 4 else next(iter(clouds))
    if name not in clouds:
        raise UserError(f"{folder} has no cloud {name!r}; there are {', '.join(list(clouds)[:10])}")
    frames = [folder / "images" / f"{name}_{picture}.png" for picture in PICTURES]
    pictures = [to_width(np.rint(read_rgb(file) * 255).astype(np.uint8)) for file in frames]
    cloud = trimesh.load(clouds[name])
    points, colors = np.asarray(cloud.vertices), np.asarray(cloud.colors)[:, :3]
    size = pictures[0].shape[:2]
    views = [draw_cloud(points, colors, size, yaw_deg=yaw, pitch_deg=pitch) for yaw, pitch in SIDES.values()]
    rows = side_by_side(pictures, tuple(PICTURES.values())), side_by_side(views, tuple(SIDES))
    write_picture(out, np.concatenate(rows))
    print(f"{out}: {len(points)} points of {name}")


def to_width(picture: np.ndarray) -> np.ndarray:
    """The picture at ``WIDTH`` columns."""
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    return cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    run_cli(main)

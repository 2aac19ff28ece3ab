"""SfM results in the layout of the published example: a folder a clip.

    00004584.jpg ...              frames, called by their number
    selected_indexes              the numbers of all extracted frames, one a line
    visible_view_indexes          the numbers of the frames that SfM registered, one a line, in the order of the poses
    camera_intrinsics_per_view    fx, fy, cx, cy [px], a number a line, of all views or of each; before 2020 f, cx, cy
    motion.yaml                   poses[]: poses[i]: position x y z and orientation x y z w, camera to world
    structure.ply                 the points, as text
    view_indexes_per_point        for each point a line -1, and then the numbers of the frames of its track, one a line
    undistorted_mask.bmp          8 bits: 255 in the lens circle, 0 outside, a soft rim between

Text is ASCII. Source: the data that Liu et al. published with the code of IEEE TMI 39(5), 2020.
"""

from pathlib import Path

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from data.image_files import list_images
from data.sfm.clip import SAME_CAMERA, SfmClip, keep_points
from data.sfm.mask import MASKS, read_mask
from data.sfm.ply_file import read_ply_points
from data.sfm.text_files import read_column, read_lines, to_number
from util.errors import UserError
from util.intrinsics import Intrinsics

SELECTED, VISIBLE, TRACKS = "selected_indexes", "visible_view_indexes", "view_indexes_per_point"
CAMERA, MOTION, STRUCTURE = "camera_intrinsics_per_view", "motion.yaml", "structure.ply"
TEXT_FILES = (SELECTED, VISIBLE, CAMERA, MOTION, STRUCTURE, TRACKS)
LAYOUT = f"{', '.join(TEXT_FILES)} and {MASKS[0]}, beside frames called by their number (00000012.jpg)"
NEW_POINT = -1  # opens the next track
MAX_FRAME_NUMBER = 2**63 - 1  # of int64
POSITION, ORIENTATION = "xyz", "xyzw"


def read_published(folder: Path) -> SfmClip:
    """Read a clip in the layout above.

    Views come in the order of their numbers. A view whose picture is not there has ``None`` for it; points that are not
    finite are left out with their tracks. Without a mask everything is inside the lens circle.

    Raises:
        UserError: a file is missing, damaged, or contradicts another one; says which, and in which line.
    """
    missing = [name for name in TEXT_FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} lacks {', '.join(missing)}; a clip of SfM results has {LAYOUT}")
    numbers = _read_views(folder)
    poses = _read_poses(folder / MOTION, len(numbers))
    points = read_ply_points(folder / STRUCTURE)
    observations = _read_tracks(folder / TRACKS, numbers, len(points))
    order = np.argsort(numbers)
    observations[:, 0] = np.argsort(order)[observations[:, 0]]  # where each view has gone
    points, observations = keep_points(points, observations, np.isfinite(points).all(axis=1))
    frames = _frames(folder, numbers[order])
    mask = read_mask(folder, frames)
    camera = Intrinsics(_read_camera(folder / CAMERA, len(numbers)), mask.shape)
    _require_centre_inside(folder / CAMERA, camera)
    name = folder.resolve().name
    return SfmClip(name, folder, frames, numbers[order], camera, poses[order], points, observations, mask)


def _frames(folder: Path, numbers: np.ndarray) -> tuple[Path | None, ...]:
    """The picture of each number, however many zeros its name begins with."""
    of_number: dict[int, Path] = {}
    for path in list_images(folder):
        if path.stem.isdecimal():
            other = of_number.setdefault(int(path.stem), path)
            if other != path:
                raise UserError(f"{folder} has two frames of one number, {other.name} and {path.name}; remove one")
    return tuple(of_number.get(number) for number in numbers.tolist())


def _read_frame_numbers(file: Path) -> dict[int, int]:
    """The line of each frame number, in the order of the file."""
    line_of: dict[int, int] = {}
    for line, number in read_column(file, int):
        if not 0 <= number <= MAX_FRAME_NUMBER:
            raise UserError(f"{file}, line {line}: {number} is no frame number")
        if number in line_of:
            raise UserError(f"{file}, line {line}: frame {number} is listed twice, first in line {line_of[number]}")
        line_of[number] = line
    return line_of


def _read_views(folder: Path) -> np.ndarray:
    """The numbers of the registered frames in the order of the poses, int64 (V,)."""
    selected, visible = (_read_frame_numbers(folder / name) for name in (SELECTED, VISIBLE))
    for number, line in visible.items():
        if number not in selected:
            raise UserError(f"{folder / VISIBLE}, line {line}: frame {number} is not in {SELECTED}")
    return np.array(list(visible), dtype=np.int64)


def _read_tracks(file: Path, numbers: np.ndarray, num_points: int) -> np.ndarray:
    """(view, point) of each entry, int64 (M, 2); views as their frames come in ``numbers``."""
    view_of = {number: view for view, number in enumerate(numbers.tolist())}
    observations: list[tuple[int, int]] = []
    openings: list[int] = []  # lines
    for line, number in read_column(file, int):
        if number == NEW_POINT:
            _require_track(file, openings, observations)
            openings.append(line)
        elif not openings:
            raise UserError(f"{file}, line {line}: the first track must open with {NEW_POINT}, got {number}")
        elif number not in view_of:
            raise UserError(
                f"{file}, line {line}: point {len(openings) - 1} was seen in frame {number}, not in {VISIBLE}"
            )
        else:
            observations.append((view_of[number], len(openings) - 1))
    _require_track(file, openings, observations)
    if len(openings) != num_points:
        last = openings[-1] if openings else 1
        raise UserError(
            f"{file} has {len(openings)} tracks (the last one from line {last}), but {STRUCTURE} {num_points} points"
        )
    return np.array(observations, dtype=np.int64).reshape(-1, 2)


def _require_track(file: Path, openings: list[int], observations: list[tuple[int, int]]) -> None:
    """The point that was opened last has been seen."""
    if openings and (not observations or observations[-1][1] != len(openings) - 1):
        raise UserError(
            f"{file}, line {openings[-1]}: point {len(openings) - 1} has no track (no frame after {NEW_POINT})"
        )


def _read_camera(file: Path, num_views: int) -> np.ndarray:
    """K, float64 (3, 3) [px]."""
    rows = read_column(file, float)
    width = 3 if len(rows) % 4 else 4  # numbers of a view
    if not rows or len(rows) % width or len(rows) > width * num_views:
        raise UserError(
            f"{file} has {len(rows)} numbers; it needs fx, fy, cx and cy, a line each, once or for each of the "
            f"{num_views} views (or f, cx and cy, as before 2020)"
        )
    blocks = np.array([value for _, value in rows]).reshape(-1, width)
    wrong = np.argwhere(~np.isclose(blocks, blocks[0], rtol=SAME_CAMERA, atol=0))  # nan is like nothing
    if len(wrong):
        view, column = wrong[0]
        raise UserError(
            f"{file}, line {rows[view * width + column][0]}: {blocks[view, column]} of view {view} is not that of the "
            "first one, or not finite; a clip has one camera, so split it where the camera changes"
        )
    if width == 3 and blocks[0, 0] == blocks[0, 1]:
        raise UserError(f"{file} has 3 numbers a view with f = cx = {blocks[0, 0]}; is cy of fx, fy, cx, cy missing?")
    fx, fy, cx, cy = blocks[0] if width == 4 else blocks[0, [0, 0, 1, 2]]
    if not (min(fx, fy) > 0 and np.isfinite(blocks).all()):
        raise UserError(f"{file}: intrinsics must be finite and focal lengths positive, got {blocks[0].tolist()}")
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _require_centre_inside(file: Path, camera: Intrinsics) -> None:
    """Where it is outside, a line is missing, or the numbers belong to frames of another size."""
    (height, width), (cx, cy) = camera.size, camera.K[:2, 2]
    if not (0 <= cx < width and 0 <= cy < height):
        raise UserError(
            f"{file}: the principal point ({cx}, {cy}) is outside the frames of {width}x{height}; is a line missing, "
            "or are these the intrinsics of frames of another size?"
        )


def _read_poses(file: Path, num_views: int) -> np.ndarray:
    """world_from_cam, float64 (V, 4, 4). Read as a tree of nodes: these know their lines, and 1e-05 is a number."""
    try:
        tree = yaml.compose("\n".join(read_lines(file)), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no YAML, or truncated: {' '.join(str(error).split())}") from None
    node = _field(file, tree, "poses[]")
    stored = _fields(file, node)
    if len(stored) != num_views:
        raise UserError(f"{file}, line {_line(node)}: {len(stored)} poses, but {VISIBLE} lists {num_views} views")
    poses = np.tile(np.eye(4), (num_views, 1, 1))
    for index, pose in enumerate(poses):
        name = f"poses[{index}]"
        if name not in stored:
            raise UserError(f"{file}, line {_line(node)}: {name} is missing of {num_views} poses")
        pose[:3, 3] = _vector(file, _field(file, stored[name], "position"), POSITION)
        turn = _field(file, stored[name], "orientation")
        quaternion = _vector(file, turn, ORIENTATION)
        if not quaternion.any():
            raise UserError(f"{file}, line {_line(turn)}: an orientation of 0 0 0 0 is no rotation")
        pose[:3, :3] = Rotation.from_quat(quaternion).as_matrix()  # which brings it to unit length
    return poses


def _fields(file: Path, node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The fields of a mapping by name."""
    if not isinstance(node, yaml.MappingNode):
        raise UserError(
            f"{file}, line {_line(node)}: expected fields with names; {file.name} is damaged or cut off here"
        )
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if fields.setdefault(str(key.value), value) is not value:
            raise UserError(f"{file}, line {_line(key)}: there is a second {key.value}")
    return fields


def _field(file: Path, node: yaml.Node | None, name: str) -> yaml.Node:
    fields = _fields(file, node)
    if name not in fields:
        raise UserError(f"{file}, line {_line(node)}: {name} is missing")
    return fields[name]


def _vector(file: Path, node: yaml.Node, names: str) -> np.ndarray:
    """The numbers of fields with these names of one letter."""
    numbers = [_field(file, node, name) for name in names]
    vector = np.array([to_number(str(one.value), float, f"{file}, line {_line(one)}") for one in numbers])
    if not np.isfinite(vector).all():
        raise UserError(f"{file}, line {_line(node)}: {vector.tolist()} is not finite")
    return vector


def _line(node: yaml.Node | None) -> int:
    return 1 if node is None else node.start_mark.line + 1

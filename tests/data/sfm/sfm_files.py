"""A tiny clip with SfM results, written in each layout from the numbers that stand here; not by what is tested."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from data.sfm.clip import SfmClip
from util.intrinsics import Intrinsics

SIZE = (20, 28)
FX, FY, CX, CY = 31.25, 30.5, 13.75, 9.125
NUMBERS = (2, 3, 5, 12)
POSITIONS = ((0.0, 0.0, 0.0), (0.1, -0.05, 0.02), (0.2, 0.1, -0.1), (0.25, -0.125, 0.5))  # of the camera in the world
TURNS = (
    (0.0, 0.0, 0.0, 1.0),
    (0.1, 0.0, 0.0, 1.0),
    (0.0, -0.2, 0.1, 1.0),
    (0.1, 0.05, -0.3, 0.9),
)  # x y z w, any length
POINTS = ((-0.5, 0.25, 2.0), (0.5, -0.3, 2.5), (0.1, 0.2, 3.0), (-0.2, -0.1, 2.25), (1e-05, 0.4, 1.75))
TRACKS = ((0, 1, 2), (0, 1, 3), (1, 2, 3), (0, 2, 3), (0, 1, 2, 3))  # views
MASK = np.pad(np.full((16, 24), 255, np.uint8), 2)
POINT_IDS = (7, 3, 11, 4, 20)  # of COLMAP, in the order of its files
IMAGE_IDS = (4, 9, 1, 6)
MODEL_NUMBERS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "OPENCV": 4, "OPENCV_FISHEYE": 5}


def rotation(turn: Sequence[float]) -> np.ndarray:
    """The matrix of a quaternion (x, y, z, w), as in any textbook."""
    x, y, z, w = np.array(turn) / np.linalg.norm(turn)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def tiny_clip(folder: Path) -> SfmClip:
    """What must come out of all files below, but for frames that are not there."""
    poses = np.tile(np.eye(4), (len(NUMBERS), 1, 1))
    poses[:, :3, :3] = [rotation(turn) for turn in TURNS]
    poses[:, :3, 3] = POSITIONS
    observations = sorted((view, point) for point, track in enumerate(TRACKS) for view in track)
    K = np.array([[FX, 0, CX], [0, FY, CY], [0, 0, 1]])
    frames = tuple(folder / f"{number:08d}.jpg" for number in NUMBERS)
    arrays = (Intrinsics(K, SIZE), poses, np.array(POINTS), np.array(observations, np.int32), MASK)
    return SfmClip(folder.name, folder, frames, np.array(NUMBERS), *arrays)


def assert_same(clip: SfmClip, expected: SfmClip) -> None:
    """All numbers of two clips; not their frames."""
    np.testing.assert_array_equal(clip.numbers, expected.numbers)
    np.testing.assert_allclose(clip.poses, expected.poses, rtol=0, atol=1e-12)
    np.testing.assert_allclose(clip.points, expected.points, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(clip.observations, expected.observations)
    assert clip.observations.dtype == np.int32
    np.testing.assert_allclose(clip.camera.K, expected.camera.K, rtol=0, atol=1e-12)
    assert clip.camera.size == expected.camera.size
    np.testing.assert_array_equal(clip.mask, expected.mask)


def write_frames(folder: Path, names: Sequence[str], size: tuple[int, int] = SIZE) -> None:
    for name in names:
        save(folder / name, np.full((*size, 3), 90, np.uint8))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def published_texts() -> dict[str, str]:
    """The text files of the published layout, by name."""
    motion = "header: \n  seq: 0\n  stamp: 0.000000000\n  frame_id: \nposes[]:\n"
    for index, (position, turn) in enumerate(zip(POSITIONS, TURNS, strict=True)):
        motion += f"  poses[{index}]: \n    position: \n"
        motion += "".join(f"      {axis}: {value}\n" for axis, value in zip("xyz", position, strict=True))
        motion += "    orientation: \n"
        motion += "".join(f"      {axis}: {value}\n" for axis, value in zip("xyzw", turn, strict=True))
    header = f"ply\nformat ascii 1.0\ncomment made by hand\nelement vertex {len(POINTS)}\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz")
    header += "element camera 1\nproperty float view_px\nproperty int viewportx\nend_header\n"
    tracks = "".join("-1\n" + "".join(f"{NUMBERS[view]}\n" for view in track) for track in TRACKS)
    return {
        "selected_indexes": "".join(f"{number}\n" for number in range(1, 14)),
        "visible_view_indexes": "".join(f"{number}\n" for number in NUMBERS),
        "camera_intrinsics_per_view": f"{FX}\n{FY}\n{CX}\n{CY}\n",
        "motion.yaml": motion,
        "structure.ply": header + "".join(f"{x} {y} {z}\n" for x, y, z in POINTS) + "0 640\n",
        "view_indexes_per_point": tracks,
    }


def write_published_files(folder: Path, **frames_of: Sequence[str]) -> Path:
    """The whole clip; ``frames`` are names of pictures, by default one for each number."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in published_texts().items():
        (folder / name).write_text(text)
    save(folder / "undistorted_mask.bmp", MASK)
    write_frames(folder, frames_of.get("frames", [f"{number:08d}.jpg" for number in NUMBERS]))
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Replace what is in a text once."""
    text = path.read_text()
    assert text.count(old) == 1, (old, text)
    path.write_text(text.replace(old, new))


def colmap_images() -> Iterator[tuple[int, list[float], str]]:
    """Id, pose (world to camera: w x y z and translation) and name of each image, last view first."""
    for view in reversed(range(len(NUMBERS))):
        x, y, z, w = (np.array(TURNS[view]) / np.linalg.norm(TURNS[view])).tolist()
        translation = -rotation(TURNS[view]).T @ POSITIONS[view]
        yield IMAGE_IDS[view], [w, -x, -y, -z, *translation.tolist()], f"frame_{NUMBERS[view]:03d}.png"


def colmap_points() -> Iterator[tuple[int, Sequence[float], float, list[int]]]:
    """Id, place, error and images of each point; the first image of a track is in it twice."""
    for index, track in enumerate(TRACKS):
        images = [IMAGE_IDS[view] for view in (*track, track[0])]
        yield POINT_IDS[index], POINTS[index], 0.5 + index / 10, images


def write_colmap_text(
    folder: Path, model: str = "PINHOLE", params: Sequence[float] = (FX, FY, CX + 0.5, CY + 0.5)
) -> Path:
    """A model as text, with the comments that COLMAP writes; the 2D points of every second image are empty."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = " ".join(map(repr, params))
    (folder / "cameras.txt").write_text(f"# Number of cameras: 1\n1 {model} {SIZE[1]} {SIZE[0]} {numbers}\n")
    images = f"# Image list\n# Number of images: {len(NUMBERS)}, mean observations per image: 4\n"
    for index, (key, pose, name) in enumerate(colmap_images()):
        points = "3.5 4.5 7 6.5 7.5 -1" if index % 2 else ""
        images += f"{key} {' '.join(map(repr, pose))} 1 {name}\n{points}\n"
    (folder / "images.txt").write_text(images)
    points = f"# 3D point list\n# Number of points: {len(POINTS)}, mean track length: 4.2\n"
    for key, xyz, error, seen_in in colmap_points():
        track = " ".join(f"{image} {at}" for at, image in enumerate(seen_in))
        points += f"{key} {' '.join(map(repr, xyz))} 1 2 3 {error} {track}\n"
    (folder / "points3D.txt").write_text(points)
    return folder


def write_colmap_binary(
    folder: Path, model: str = "PINHOLE", params: Sequence[float] = (FX, FY, CX + 0.5, CY + 0.5)
) -> Path:
    """The same model in binary files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in colmap_contents(MODEL_NUMBERS[model], params).items():
        (folder / name).write_bytes(content)
    return folder


def colmap_contents(model: int, params: Sequence[float]) -> Mapping[str, bytes]:
    """The binary files of a model, by name."""
    cameras = struct.pack(f"<QIiQQ{len(params)}d", 1, 1, model, SIZE[1], SIZE[0], *params)
    images = struct.pack("<Q", len(NUMBERS))
    for index, (key, pose, name) in enumerate(colmap_images()):
        images += struct.pack("<I7dI", key, *pose, 1) + name.encode() + b"\0"
        images += struct.pack("<QddQddq", 2, 3.5, 4.5, 7, 6.5, 7.5, -1) if index % 2 else struct.pack("<Q", 0)
    points = struct.pack("<Q", len(POINTS))
    for key, xyz, error, seen_in in colmap_points():
        points += struct.pack("<Q3d3BdQ", key, *xyz, 1, 2, 3, error, len(seen_in))
        points += b"".join(struct.pack("<II", image, at) for at, image in enumerate(seen_in))
    return {"cameras.bin": cameras, "images.bin": images, "points3D.bin": points}

"""Which depth map belongs to which frame: by name, never by position."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data.depth_files import DEPTH_SUFFIXES
from data.image_files import PNG_START, list_images

# What a frame's stem is called in its depth map's stem: (in the frame's name, in the depth's name, data set).
NAME_RULES = (
    ("FrameBuffer", "Depth"),  # UCL: T3_L1_1_resized_FrameBuffer_0294 / T3_L1_1_resized_Depth_0294, SimCol3D
    ("_color", "_depth"),  # C3VD: 0001_color / 0001_depth
)

PNG_COLOUR_TYPE = 25  # place of the byte in a PNG file that is 0 for grey


@dataclass(frozen=True)
class Pairing:
    """Frames with their depth maps, and what found no partner."""

    pairs: list[tuple[Path, Path]]
    frames_alone: list[Path]
    depths_alone: list[Path]

    @property
    def orphans(self) -> list[Path]:
        return [*self.frames_alone, *self.depths_alone]


def find_pairs(frames_dir: Path, depths_dir: Path) -> Pairing:
    """Pair the frames of one folder with the depth maps of another (or of the same one).

    A frame's depth has the same stem, or the stem that a rule of ``NAME_RULES`` makes of it. In one common folder a
    file that is called like a depth map by a rule is one, and so is a ``.npy``, TIFF or grey PNG with the stem of
    another picture. Of several depth maps with one stem the first by suffix is taken (``.npy`` before ``.png``).
    """
    if frames_dir.resolve() != depths_dir.resolve():
        return pair_files(list_images(frames_dir), list_images(depths_dir, DEPTH_SUFFIXES))
    frames = [path for path in list_images(frames_dir) if not is_depth_name(path.stem)]
    stems = Counter(path.stem for path in frames)
    doubles = {path for path in frames if stems[path.stem] > 1 and _is_grey(path)}
    frames = [path for path in frames if path not in doubles]
    named = [path for path in list_images(frames_dir, DEPTH_SUFFIXES) if is_depth_name(path.stem)]
    arrays = [path for path in list_images(frames_dir, (".npy",)) if path.stem in stems]
    return pair_files(frames, [*named, *doubles, *arrays])


def pair_files(frames: list[Path], depths: list[Path]) -> Pairing:
    """Pair files by their stems, as ``find_pairs`` says."""
    by_stem = {path.stem: path for path in sorted(depths, key=lambda path: path.name, reverse=True)}
    pairs, alone = [], []
    for frame in frames:
        stem = next((stem for stem in depth_stems(frame.stem) if stem in by_stem), None)
        if stem is None:
            alone.append(frame)
        else:
            pairs.append((frame, by_stem[stem]))
    used = {depth.stem for _, depth in pairs}
    return Pairing(pairs, alone, [depth for stem, depth in sorted(by_stem.items()) if stem not in used])


def depth_stems(frame_stem: str) -> list[str]:
    """Stems that the depth map of the frame ``frame_stem`` may have, the rules first."""
    by_rule = [frame_stem.replace(of_frame, of_depth) for of_frame, of_depth in NAME_RULES if of_frame in frame_stem]
    return [*by_rule, frame_stem]


def sequence_of(frame_stem: str) -> str:
    """What the names of a sequence's frames have in common: the stem without its last number."""
    return re.sub(r"[_.-]*\d+(?=\D*$)", "", frame_stem, count=1).strip("_.-")


def is_depth_name(stem: str) -> bool:
    """Whether a stem is that of a depth map under one of the rules."""
    return any(of_depth in stem for _, of_depth in NAME_RULES)


def _is_grey(path: Path) -> bool:
    """Whether a picture of a stem that another one has too holds no colour: a TIFF, or a PNG whose header says so."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return True
    with path.open("rb") as file:
        header = file.read(PNG_COLOUR_TYPE + 1)
    return header.startswith(PNG_START) and header[PNG_COLOUR_TYPE:] == b"\0"

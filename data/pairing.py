"""Which depth map belongs to which frame: by name, never by position."""

from dataclasses import dataclass
from pathlib import Path

from data.depth_files import DEPTH_SUFFIXES
from data.image_files import list_images

# What a frame's stem is called in its depth map's stem: (in the frame's name, in the depth's name, data set).
NAME_RULES = (
    ("FrameBuffer", "Depth"),  # UCL: T3_L1_1_resized_FrameBuffer_0294 / T3_L1_1_resized_Depth_0294, SimCol3D
    ("_color", "_depth"),  # C3VD: 0001_color / 0001_depth
)


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

    A frame's depth has the same stem, or the stem that a rule of ``NAME_RULES`` makes of it. In one common folder only
    the rules count, and files that look like a depth map are no frames. Of several files with one stem the first by
    suffix is taken (``.npy`` before ``.png``).
    """
    together = frames_dir.resolve() == depths_dir.resolve()
    files = list_images(frames_dir)
    depths = list_images(depths_dir, DEPTH_SUFFIXES)
    if together:
        depths = [path for path in depths if is_depth_name(path.stem)]
        files = [path for path in files if not is_depth_name(path.stem)]
    by_stem = {path.stem: path for path in reversed(depths)}
    pairs, alone = [], []
    for frame in files:
        stem = next((stem for stem in depth_stems(frame.stem, same_stem=not together) if stem in by_stem), None)
        if stem is None:
            alone.append(frame)
        else:
            pairs.append((frame, by_stem[stem]))
    used = {depth.stem for _, depth in pairs}
    return Pairing(pairs, alone, [depth for stem, depth in sorted(by_stem.items()) if stem not in used])


def depth_stems(frame_stem: str, same_stem: bool = True) -> list[str]:
    """Stems that the depth map of the frame ``frame_stem`` may have, the rules first."""
    by_rule = [frame_stem.replace(of_frame, of_depth) for of_frame, of_depth in NAME_RULES if of_frame in frame_stem]
    return by_rule + [frame_stem] * same_stem


def is_depth_name(stem: str) -> bool:
    """Whether a stem is that of a depth map under one of the rules."""
    return any(of_depth in stem for _, of_depth in NAME_RULES)

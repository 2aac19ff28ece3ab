"""This project's own layout: ``<phase>_A/`` and ``<phase>_B/``, or ``<phase>/`` with frames and depth side by side."""

from data.depth_files import find_encoding
from data.formats.base import DataFormat, Found, Item, pair_items
from data.image_files import list_images
from data.pairing import find_pairs, sequence_of
from util.intrinsics import INTRINSICS_JSON, Intrinsics, NoPinhole, read_intrinsics

HERE = "."  # the phase of pairs that lie in the root itself


class FolderFormat(DataFormat):
    """Frames and depth maps paired by name (``data.pairing``), encoded as ``data.depth_files`` lists.

    An ``intrinsics.json`` beside the frames is the camera of all of them, if it is a pinhole's. The embedded phantom
    has this layout too.
    """

    def phases(self) -> list[str]:
        folders = sorted(path.name for path in self.root.iterdir() if path.is_dir())
        halves = {name[:-2] for name in folders if name.endswith(("_A", "_B"))}
        others = [name for name in [*folders, HERE] if not name.endswith(("_A", "_B"))]
        return sorted(halves | {name for name in others if find_pairs(self.root / name, self.root / name).pairs})

    def find(self, phase: str) -> Found:
        frames, depths = self.root / f"{phase}_A", self.root / f"{phase}_B"
        whole = self.root / phase
        if not (frames.is_dir() or depths.is_dir()) and whole.is_dir() and list_images(whole):
            frames = depths = whole
        for folder in (frames, depths):
            if not folder.is_dir():
                raise FileNotFoundError(f"there is no folder {folder}; --dataroot must hold <phase>_A and <phase>_B")
        return pair_items(find_pairs(frames, depths), sequence_of)

    def relative(self, item: Item) -> bool:
        return find_encoding(item.depth, self.depth_format, bits=8).relative

    def camera(self, item: Item, size: tuple[int, int]) -> Intrinsics | None:
        beside = item.image.parent / INTRINSICS_JSON
        try:
            return read_intrinsics(beside) if beside.is_file() else None
        except NoPinhole:
            return None

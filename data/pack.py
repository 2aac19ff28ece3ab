"""A data set at its size for training, ready to be read: ``python -m data.pack DIR --size 512``.

Decoding and resizing leave the training loop: frames and depth become arrays that are read where they lie, in shards
of some hundred frames with a checksum each. The result is a ``--dataroot`` like any other. A run that was broken off
goes on with the next shard.
"""

import hashlib
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data import formats
from data.array_files import array_writer, mapped_array
from data.base_dataset import to_image_tensor
from data.clips import Clip, find_clips, write_clip_view
from data.clips_dataset import read_clip_intrinsics
from data.depth_files import encode_depth
from data.formats import DataFormat, Item, open_format
from data.formats.packed import FORMAT, MM_PER_UNIT, PACKED_JSON, PackedFormat, packed_view_file
from data.transforms import Preprocessing
from data.view_mask import resize_view
from util.errors import UserError, run_cli
from util.files import atomic_path, remove_partial_files, write_text
from util.intrinsics import Intrinsics, scale_intrinsics
from util.threads import in_parallel

SHARD_BYTES = 64 * 2**20  # of pictures
MODES = ("resize", "scale_width", "fit", "none")
FAULTY_CODE = 1


@dataclass
class Frame:
    """What a shard keeps of one frame: pictures at their final size, and facts."""

    rgb: np.ndarray  # uint8 (H, W, 3)
    depth: np.ndarray | None  # uint16 (H, W)
    facts: dict[str, Any]


@dataclass(frozen=True)
class Split:
    """A split to be packed: its frames, and how one is read."""

    items: list[Item]
    read: Callable[[Item], Frame]
    has_depth: bool


def main(args: list[str] | None = None) -> int:
    opt = parse(args)
    if opt.verify:
        damaged = damaged_shards(opt.dataroot)
        sys.stdout.write(
            "".join(f"{file} does not have its checksum\n" for file in damaged) or "all shards are whole\n"
        )
        return FAULTY_CODE if damaged else 0
    out = opt.out or opt.dataroot.with_name(f"{opt.dataroot.resolve().name}_packed{opt.size}")
    pack(open_format(opt), Preprocessing(opt.resize_or_crop, opt.size, opt.size), out, opt.dataset)
    sys.stdout.write(f"{out}: {size_of(out) / 1e6:.0f} MB; train with --dataroot {out} --load_size {opt.size}\n")
    return 0


def parse(args: list[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m data.pack", description="Pack a data set at its size for training.")
    parser.add_argument("dataroot", type=Path, metavar="folder", help="data set")
    parser.add_argument("--size", type=int, default=512, help="as --load_size of the training [px]")
    parser.add_argument("--resize_or_crop", choices=MODES, default="resize", help="as that of the training, less crops")
    parser.add_argument("--out", type=Path, help="folder of the packed set; default: <folder>_packed<size>")
    parser.add_argument("--depth_format", default="auto", help="how depth is stored, as for train.py")
    parser.add_argument("--verify", action="store_true", help="compare the checksums of a packed set; writes nothing")
    formats.add_options(parser)
    opt = parser.parse_args(args)
    if opt.size < 1:
        parser.error(f"--size {opt.size}: must be at least 1")
    if not opt.dataroot.exists():
        parser.error(f"there is no folder {opt.dataroot}")
    return opt


def pack(source: DataFormat, preprocessing: Preprocessing, out: Path, dataset: str) -> None:
    """Write all splits and clips of a data set.

    Raises:
        UserError, FileNotFoundError: something of it cannot be read; what was packed stays.
    """
    if isinstance(source, PackedFormat):
        raise UserError(f"{source.root} is packed already")
    settings = {"dataset": dataset, "mode": preprocessing.mode, "size": preprocessing.load_size}
    remove_partial_files(out)
    splits = splits_of(source, preprocessing)
    shards = {name: pack_split(split, out / name, name, settings) for name, split in splits.items()}
    for root in clip_roots(source):
        pack_views(find_clips(root), out / root.name, preprocessing)
    index = {
        name: {"shards": count, "frames": len(splits[name].items), "depth": splits[name].has_depth}
        for name, count in shards.items()
    }
    content = {"format": FORMAT, "settings": settings, "mm_per_unit": MM_PER_UNIT, "phases": index}
    write_text(out / PACKED_JSON, json.dumps(content, indent=1) + "\n")


def splits_of(source: DataFormat, preprocessing: Preprocessing) -> dict[str, Split]:
    """Pairs of every phase, and frames of every folder of clips."""
    splits = {
        phase: Split(source.items(phase), lambda item: read_pair(source, item, preprocessing), True)
        for phase in source.phases()
    }
    for root in clip_roots(source):
        clips = {clip.name: clip for clip in find_clips(root)}
        items = [
            Item(f"{clip.name}/{index:06d}", file, file, clip.name)
            for clip in clips.values()
            for index, file in enumerate(clip.files if not clip.side_by_side else clip.files * len(clip))
        ]
        splits[root.name] = Split(items, lambda item, clips=clips: read_clip_frame(clips, item, preprocessing), False)
    if not splits:
        raise UserError(f"{source.root} has neither splits nor clips to pack; is --dataset right?")
    return splits


def clip_roots(source: DataFormat) -> list[Path]:
    """The folders of clips in a data set."""
    return sorted(path for path in source.root.glob("video_*") if path.is_dir())


def pack_views(clips: Sequence[Clip], folder: Path, preprocessing: Preprocessing) -> None:
    """Write at its size for training where the frames of clips show what the camera sees, when that is known."""
    for clip in clips:
        view = clip.view()
        file = packed_view_file(folder, clip.name)
        if view is None:
            file.unlink(missing_ok=True)
        else:
            write_clip_view(file, resize_view(view, preprocessing.size_of(*view.shape)))


def read_pair(source: DataFormat, item: Item, preprocessing: Preprocessing) -> Frame:
    """A frame with its depth, resized."""
    rgb, depth_mm = source.read_frame(item.image), source.read_depth_mm(item)
    if rgb.shape[:2] != depth_mm.shape:
        raise UserError(f"{item.image} is {rgb.shape[:2]} pixels, but its depth map {item.depth} {depth_mm.shape}")
    depth = torch.from_numpy(depth_mm)[None]
    resized = preprocessing.resize({"image": to_image_tensor(rgb), "depth_mm": depth, "valid": depth > 0})
    stored = encode_depth(resized["depth_mm"][0].numpy(), MM_PER_UNIT)
    facts = facts_of(item, source.camera(item, rgb.shape[:2]), source.pose(item), resized["image"].shape[-2:])
    return Frame(to_bytes(resized["image"]), stored, facts)


def read_clip_frame(clips: dict[str, Clip], item: Item, preprocessing: Preprocessing) -> Frame:
    """A frame of a clip, resized."""
    clip = clips[item.sequence]
    rgb = clip.read(int(item.name.rsplit("/", 1)[1]), 1)[0]
    image = preprocessing.resize({"image": to_image_tensor(rgb)})["image"]
    return Frame(to_bytes(image), None, facts_of(item, read_clip_intrinsics(clip), None, image.shape[-2:]))


def facts_of(item: Item, camera: Intrinsics | None, pose: np.ndarray | None, size: tuple[int, int]) -> dict[str, Any]:
    """What the shard's list says of a frame of its final ``size``."""
    K = None if camera is None else scale_intrinsics(camera.K, camera.size, size).tolist()
    return {"name": item.name, "sequence": item.sequence, "K": K, "pose": None if pose is None else pose.tolist()}


def to_bytes(image: torch.Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] to uint8 (H, W, 3)."""
    return ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def pack_split(split: Split, folder: Path, name: str, settings: dict[str, Any]) -> int:
    """Write the shards of a split that are not there yet; returns how many it has."""
    first = split.read(split.items[0])
    limit = max(1, SHARD_BYTES // first.rgb.nbytes)
    number = position = 0
    while position < len(split.items):
        key = key_of(split.items[position:], settings, limit)
        count = packed_frames(folder, number, key)
        if count == 0:
            batch = split.items[position : position + limit]
            what = f"packing {name}, shard {number}"
            frames = alike(list(in_parallel(split.read, batch, what, "frames")))
            write_shard(folder, number, frames, key)
            count = len(frames)
        position, number = position + count, number + 1
    for surplus in folder.glob("*.json"):
        if int(surplus.stem) >= number:
            surplus.unlink()
    return number


def alike(frames: list[Frame]) -> list[Frame]:
    """The first frames that have one size."""
    same = [frame.rgb.shape == frames[0].rgb.shape for frame in frames]
    return frames[: same.index(False)] if False in same else frames


def key_of(items: Sequence[Item], settings: dict[str, Any], limit: int) -> str:
    """What a shard that begins with these items is made from; names, sizes and times stand for the files' content."""
    stamps = [
        (item.name, *((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in item.files))
        for item in items[:limit]
    ]
    return hashlib.sha256(json.dumps([FORMAT, settings, limit, stamps]).encode()).hexdigest()


def packed_frames(folder: Path, number: int, key: str) -> int:
    """Frames of a shard that is there already and made from the same; 0 when it has to be written."""
    try:
        content = json.loads((folder / f"{number:05d}.json").read_text(encoding="utf-8"))
        return len(content["frames"]) if content["key"] == key and content["format"] == FORMAT else 0
    except (OSError, ValueError, KeyError):
        return 0


def write_shard(folder: Path, number: int, frames: list[Frame], key: str) -> None:
    """The arrays, then their list: who finds the list finds the arrays whole."""
    shard = folder / f"{number:05d}"
    arrays = {"image": np.stack([frame.rgb for frame in frames])}
    if frames[0].depth is not None:
        arrays["depth"] = np.stack([frame.depth for frame in frames])
    sums = {}
    for kind, array in arrays.items():
        file = Path(f"{shard}.{kind}.npy")
        with atomic_path(file) as temporary, array_writer(temporary, array.dtype.type, array.shape) as add:
            for row in array:
                add(row)
        sums[kind] = checksum(array)
    facts = [frame.facts for frame in frames]
    content = {"format": FORMAT, "key": key, "sha256": sums, "frames": facts}
    write_text(shard.with_suffix(".json"), json.dumps(content) + "\n")


def checksum(array: np.ndarray) -> str:
    """Of the values of an array."""
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def damaged_shards(root: Path) -> list[Path]:
    """Arrays of a packed set that are not what was written.

    Raises:
        UserError: it is no packed set, or one of its lists is damaged.
    """
    source = PackedFormat(root)
    damaged = []
    for phase, facts in source.index["phases"].items():
        for number in range(facts["shards"]):
            shard = root / phase / f"{number:05d}"
            sums = json.loads(shard.with_suffix(".json").read_text(encoding="utf-8"))["sha256"]
            damaged += [file for file, known in _files(shard, sums) if not _is_whole(file, known)]
    return damaged


def _files(shard: Path, sums: dict[str, str]) -> list[tuple[Path, str]]:
    return [(Path(f"{shard}.{kind}.npy"), known) for kind, known in sums.items()]


def _is_whole(file: Path, known: str) -> bool:
    try:
        return checksum(mapped_array(file)) == known
    except UserError:
        return False


def size_of(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    run_cli(main)

"""SfM clips in folders: which layout one has, and all that are under a root."""

from dataclasses import replace
from pathlib import Path

from data.image_files import natural_key
from data.sfm.clip import SfmClip
from data.sfm.colmap import LAYOUT as COLMAP_LAYOUT
from data.sfm.colmap import model_folders, read_colmap
from data.sfm.published import LAYOUT as PUBLISHED_LAYOUT
from data.sfm.published import MOTION, STRUCTURE, read_published
from util.errors import UserError

LAYOUTS = f"a clip of SfM results is a folder with {PUBLISHED_LAYOUT}; or, of COLMAP, with {COLMAP_LAYOUT}"


def open_sfm_clip(folder: Path) -> SfmClip:
    """Read a clip in the published layout, or with a COLMAP model.

    Raises:
        UserError: the folder has neither, something in it is damaged, or none of the registered frames is there.
    """
    if not is_sfm_clip(folder):
        raise UserError(f"{folder} has no SfM results; {LAYOUTS}")
    clip = read_published(folder) if _is_published(folder) else read_colmap(folder)
    if not len(clip.views_with_frames):
        raise UserError(f"{folder}: of {len(clip)} registered frames none is there; {LAYOUTS}")
    return clip


def open_sfm_clips(root: Path) -> dict[str, SfmClip]:
    """The clips of ``find_sfm_clips``, by name.

    Raises:
        FileNotFoundError, UserError: there is none, two have one name, or one cannot be read.
    """
    return {name: replace(open_sfm_clip(folder), name=name) for name, folder in find_sfm_clips(root).items()}


def find_sfm_clips(root: Path) -> dict[str, Path]:
    """The folders of clips by name: ``root`` itself where it is a clip, else all under it, in natural order.

    A name is the path below ``root`` with ``_`` for each ``/``. Links are followed, and hidden folders left out.

    Raises:
        FileNotFoundError: there is no such folder, or no clip in it; says what a clip looks like.
        UserError: two clips would have one name.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root} with clips of SfM results")
    if is_sfm_clip(root):
        return {root.resolve().name: root}
    found: dict[str, Path] = {}
    for folder in _clips_under(root):
        name = "_".join(folder.relative_to(root).parts)
        if found.setdefault(name, folder) != folder:
            raise UserError(f"{found[name]} and {folder} would both be called {name}; rename one of them")
    if not found:
        raise FileNotFoundError(f"no clip of SfM results in {root}; {LAYOUTS}")
    return found


def is_sfm_clip(folder: Path) -> bool:
    """Whether it has SfM results of either layout; they may still be damaged."""
    return _is_published(folder) or bool(model_folders(folder))


def _is_published(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (STRUCTURE, MOTION))


def _clips_under(folder: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """In natural order; ``above`` are the real folders that led here, since links may go round."""
    if is_sfm_clip(folder):
        return [folder]  # what is in a clip belongs to it
    real = folder.resolve()
    if real in above:
        return []
    inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [clip for path in sorted(inside, key=natural_key) for clip in _clips_under(path, (*above, real))]

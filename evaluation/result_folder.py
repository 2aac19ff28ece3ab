"""The folder that a test writes: depth maps, pictures, scores and the gallery; whole or not at all."""

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from data.depth_files import MAX_UINT16, MM_PER_UNIT, write_depth, write_depth_json
from data.image_files import write_picture
from util.colormap import add_color_bar, colorize_depth, colorize_error
from util.files import atomic_path, write_text
from util.gallery import ColorScale, GalleryRow, write_gallery
from util.pointcloud import depth_to_points, write_ply
from util.tables import metric_columns, write_csv
from util.video_files import VideoWriter

ERROR_SHARE = 0.25  # an error of a quarter of the shown depth range has the brightest colour
SIMCOL3D_FULL_SCALE_MM = 200.0


class ResultFolder:
    """Writes beside the final folder and takes its place at the end, so that a broken test leaves the earlier results.

    Args:
        folder: ``<results_dir>/<name>/<what>_<epoch>``.
        max_depth_mm: largest depth that the method can predict [mm]; decides the unit of the 16-bit files.
        display_max_mm: depth of the darkest colour [mm].
    """

    def __init__(self, folder: Path, *, max_depth_mm: float, display_max_mm: float) -> None:
        self.folder = folder
        self.partial = folder.with_name(f".{folder.name}.partial")
        self.display_max_mm = display_max_mm
        self.mm_per_unit = max(MM_PER_UNIT, max_depth_mm / MAX_UINT16)
        self.rows: list[GalleryRow] = []
        self._video: VideoWriter | None = None

    def __enter__(self) -> "ResultFolder":
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._video is not None:
                self._video.__exit__(kind, error, traceback)
            if kind is None:
                self._replace()
        finally:
            shutil.rmtree(self.partial, ignore_errors=True)

    def _replace(self) -> None:
        """The earlier results go only when the new ones stand in their place."""
        earlier = self.folder.with_name(f".{self.folder.name}.earlier")
        shutil.rmtree(earlier, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(earlier)
        self.partial.rename(self.folder)
        shutil.rmtree(earlier, ignore_errors=True)

    def add_depth(self, name: str, depth_mm: np.ndarray, *, npy: bool) -> None:
        """``depth/<name>.png`` (16 bits), ``color/<name>.png`` with a bar in mm, and ``npy/<name>.npy`` if ``npy``."""
        write_depth(self.partial / "depth" / f"{name}.png", depth_mm, self.mm_per_unit)
        picture = colorize_depth(depth_mm, self.display_max_mm)
        write_picture(self.partial / "color" / f"{name}.png", self._with_bar(picture))
        if npy:
            self._save_array(f"npy/{name}.npy", depth_mm.astype(np.float32))

    def add_simcol3d(self, name: str, depth_mm: np.ndarray) -> None:
        """``simcol3d/<name>.npy``: float16, depth as a share of 20 cm, as the challenge takes it."""
        share = (depth_mm / SIMCOL3D_FULL_SCALE_MM).clip(0, 1)
        self._save_array(f"simcol3d/{name}.npy", share.astype(np.float16))

    def add_points(self, name: str, depth_mm: np.ndarray, K: np.ndarray, rgb: np.ndarray) -> None:
        """``ply/<name>.ply``: coloured points in mm, in the camera's frame."""
        write_ply(self.partial / "ply" / f"{name}.ply", *depth_to_points(depth_mm, K, _to_uint8(rgb)))

    def add_video_frame(self, rgb: np.ndarray, depth_mm: np.ndarray, fps: float) -> None:
        """The next frame of ``depth.mp4``: input and depth side by side."""
        if self._video is None:
            self._video = VideoWriter(self.partial / "depth.mp4", fps).__enter__()
        picture = self._with_bar(colorize_depth(depth_mm, self.display_max_mm))
        self._video.write(np.concatenate([_to_uint8(rgb), picture], axis=1))

    def add_row(
        self, name: str, rgb: np.ndarray, depth_mm: np.ndarray, gt_mm: np.ndarray | None, scores: dict[str, float]
    ) -> None:
        """A row of the gallery: input, depth and, where it is known, truth and error."""
        pictures = {"Input": _to_uint8(rgb), "Depth": colorize_depth(depth_mm, self.display_max_mm)}
        if gt_mm is not None:
            valid = gt_mm > 0
            pictures["Truth"] = colorize_depth(gt_mm, self.display_max_mm, valid=valid)
            pictures["Error"] = colorize_error(np.abs(depth_mm - gt_mm), self._max_error, valid=valid)
        paths = {}
        for caption, picture in pictures.items():
            paths[caption] = f"images/{name}_{caption.lower()}.png"
            write_picture(self.partial / paths[caption], picture)
        self.rows.append(GalleryRow(name, paths, scores))

    def finish(self, title: str, metrics: dict[str, Any], facts: dict[str, str], align: str) -> None:
        """``depth/depth.json``, ``metrics.json``, ``metrics.csv`` (a row an image, then the mean), ``index.html``."""
        write_depth_json(self.partial / "depth", self.mm_per_unit, alignment="none", **facts)
        write_text(self.partial / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        scored = {row.name: row.metrics for row in self.rows if row.metrics}
        columns = metric_columns(scored)
        if columns:
            mean = {column: float(np.mean([scores[column] for scores in scored.values()])) for column in columns}
            write_csv(self.partial / "metrics.csv", scored | {"(mean)": mean}, columns)
        scales = [ColorScale("Depth", self.display_max_mm)]
        if columns:
            scales.append(ColorScale("Error", self._max_error, colorize=colorize_error))
        page = self.partial / "index.html"
        summary = {title: rows for title, rows in metrics["tables"].items() if rows}
        write_gallery(page, self.rows, columns, summary, title, facts={**facts, "gallery scores": align}, scales=scales)

    @property
    def _max_error(self) -> float:
        return ERROR_SHARE * self.display_max_mm

    def _with_bar(self, picture: np.ndarray) -> np.ndarray:
        """The picture with a colour bar beside it; pictures too small for one stay as they are."""
        return add_color_bar(picture, self.display_max_mm) if picture.shape[0] >= 64 else picture

    def _save_array(self, relative: str, array: np.ndarray) -> None:
        with atomic_path(self.partial / relative) as temporary:
            np.save(temporary, array)


def _to_uint8(rgb: np.ndarray) -> np.ndarray:
    return np.rint(rgb * 255).clip(0, 255).astype(np.uint8)

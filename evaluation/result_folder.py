"""The folder that a test writes: depth maps, pictures, scores and the gallery; whole or not at all."""

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.depth_files import MAX_UINT16, MM_PER_UNIT, write_depth, write_depth_json, write_relative_depth_json
from data.image_files import write_picture
from evaluation.depth_unit import FIRST_FRAME, FIRST_TRUTH, STEP, DepthUnit, median_unit
from evaluation.trajectory import ClipPaths
from util.colormap import add_color_bar, colorize_depth, colorize_error
from util.files import atomic_path, write_text
from util.gallery import ColorScale, GalleryRow, write_gallery
from util.plots import draw_camera_path
from util.pointcloud import depth_to_points, write_ply
from util.tables import metric_columns, metric_style, write_csv
from util.video_files import VideoWriter

ERROR_SHARE = 0.25  # an error of a quarter of the shown depth range has the brightest colour
SIMCOL3D_FULL_SCALE_MM = 200.0
DEPTH, ALIGNED, RELATIVE = "Depth", "Aligned depth", "Relative depth"  # captions of the gallery
SFM_POINTS = "SfM points"
DIMMED, DISC_SHARE = 0.5, 1 / 250  # of the frame under the points; radius of a point, of the frame's width
PATH_TITLE = ("ate_mm", "rpe_mm", "rpe_deg", "path_mm", "path_scale")


class KnownPoints(NamedTuple):
    """Pixels of a frame whose depth is known from elsewhere, in the unit of its predicted depth map."""

    pixels: np.ndarray  # row and column, (N, 2)
    depth: np.ndarray  # (N,)


class ResultFolder:
    """Writes beside the final folder and takes its place at the end, so that a broken test leaves the earlier results.

    Depth of a method without a scale is divided by one constant, the median of the first frame that comes, so that its
    consistency from frame to frame can still be seen. What is aligned with a truth has the truth's unit.

    Args:
        folder: ``<results_dir>/<name>/<what>_<epoch>``.
        max_depth_mm: largest depth that the method can predict [mm]; decides the unit of the 16-bit files.
        display_max_mm: depth of the darkest colour [mm].
        metric: whether the method's depth is in mm, or has one unknown scale.
        relative_truth: whether the truth has no mm either.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_depth_mm: float,
        display_max_mm: float,
        metric: bool = True,
        relative_truth: bool = False,
    ) -> None:
        self.folder = folder
        self.partial = folder.with_name(f".{folder.name}.partial")
        self.metric = metric
        self.step = max(MM_PER_UNIT, max_depth_mm / MAX_UINT16) if metric else STEP
        mm = DepthUnit("mm", display_max_mm)
        self._predicted = mm if metric else None  # None: by the first depth map that comes
        self._aligned = None if relative_truth else mm
        self._captions = (DEPTH, DEPTH) if metric and not relative_truth else (DEPTH if metric else RELATIVE, ALIGNED)
        self.rows: list[GalleryRow] = []
        self.paths: dict[str, str] = {}
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

    def add_depth(self, name: str, depth: np.ndarray, *, npy: bool) -> None:
        """``depth/<name>.png`` (16 bits), ``color/<name>.png`` with a bar, and ``npy/<name>.npy`` if ``npy``."""
        unit = self._unit_of(depth)
        write_depth(self.partial / "depth" / f"{name}.png", unit.of(depth), self.step)
        write_picture(self.partial / "color" / f"{name}.png", _with_bar(_colorize(depth, unit), unit))
        if npy:
            self._save_array(f"npy/{name}.npy", unit.of(depth).astype(np.float32))

    def add_simcol3d(self, name: str, depth_mm: np.ndarray) -> None:
        """``simcol3d/<name>.npy``: float16, depth as a share of 20 cm, as the challenge takes it."""
        share = (depth_mm / SIMCOL3D_FULL_SCALE_MM).clip(0, 1)
        self._save_array(f"simcol3d/{name}.npy", share.astype(np.float16))

    def add_points(self, name: str, depth: np.ndarray, K: np.ndarray, rgb: np.ndarray) -> None:
        """``ply/<name>.ply``: coloured points in the camera's frame."""
        unit = self._unit_of(depth)
        points, colors = depth_to_points(unit.of(depth), K, _to_uint8(rgb))
        write_ply(self.partial / "ply" / f"{name}.ply", points, colors, unit.name)

    def add_video_frame(self, rgb: np.ndarray, depth: np.ndarray, fps: float) -> None:
        """The next frame of ``depth.mp4``: input and depth side by side."""
        if self._video is None:
            self._video = VideoWriter(self.partial / "depth.mp4", fps).__enter__()
        unit = self._unit_of(depth)
        self._video.write(np.concatenate([_to_uint8(rgb), _with_bar(_colorize(depth, unit), unit)], axis=1))

    def add_row(
        self,
        name: str,
        rgb: np.ndarray,
        depth: np.ndarray,
        gt_mm: np.ndarray | None,
        scores: dict[str, float],
        judged: np.ndarray | None = None,
        points: KnownPoints | None = None,
    ) -> None:
        """A row of the gallery: input, depth and, where it is known, truth and error.

        Args:
            name: of the frame.
            rgb: in [0, 1], (H, W, 3).
            depth: (H, W), aligned if there is a truth.
            gt_mm: (H, W), 0 where invalid; None if it is not known.
            scores: of the frame.
            judged: bool, (H, W), where an error is shown; by default where there is a truth.
            points: shown where there is no truth.
        """
        unaligned, aligned = self._captions
        pictures = {"Input": _to_uint8(rgb)}
        if gt_mm is None:
            unit = self._unit_of(depth)
            pictures[unaligned] = _colorize(depth, unit)
            if points is not None:
                pictures[SFM_POINTS] = draw_points(rgb, points, unit)
        else:
            unit = self._unit_of_truth(gt_mm)
            error = unit.of(np.abs(depth - gt_mm))
            pictures[aligned] = _colorize(depth, unit)
            pictures["Truth"] = _colorize(gt_mm, unit)
            pictures["Error"] = colorize_error(error, _max_error(unit), valid=gt_mm > 0 if judged is None else judged)
        paths = {}
        for caption, picture in pictures.items():
            paths[caption] = f"images/{name}_{caption.lower().replace(' ', '_')}.png"
            write_picture(self.partial / paths[caption], picture)
        self.rows.append(GalleryRow(name, paths, scores))

    def add_path(self, clip: str, paths: ClipPaths) -> None:
        """``trajectory/<clip>.png``: the camera's true and its predicted path."""
        scores = {key: (metric_style(key), paths.scores["ours"][key]) for key in PATH_TITLE}
        listed = ",  ".join(f"{style.title} {style.show(value)} {style.unit}" for style, value in scores.values())
        self.paths[clip] = f"trajectory/{clip}.png"
        target = self.partial / self.paths[clip]
        draw_camera_path(target, paths.true_mm, {"ours": paths.aligned_mm["ours"]}, f"{clip}\n{listed}")

    def finish(self, title: str, metrics: dict[str, Any], facts: dict[str, str], align: str) -> None:
        """``depth/depth.json``, ``metrics.json``, ``metrics.csv`` (a row an image, then the mean), ``index.html``."""
        self._write_depth_json(facts)
        write_text(self.partial / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        scored = {row.name: row.metrics for row in self.rows if row.metrics}
        columns = metric_columns(scored)
        if columns:
            mean = {column: float(np.mean([scores[column] for scores in scored.values()])) for column in columns}
            write_csv(self.partial / "metrics.csv", scored | {"(mean)": mean}, columns)
        write_gallery(
            self.partial / "index.html",
            self.rows,
            columns,
            {title: rows for title, rows in metrics["tables"].items() if rows},
            title,
            facts={**facts, "gallery scores": align},
            scales=self._color_scales(),
            figures={"Camera path": self.paths} if self.paths else None,
        )

    def _write_depth_json(self, facts: dict[str, str]) -> None:
        folder = self.partial / "depth"
        if self.metric:
            write_depth_json(folder, self.step, alignment="none", **facts)
            return
        size = {} if self._predicted is None else {"unit_as_predicted": self._predicted.size}
        largest = MAX_UINT16 * self.step
        write_relative_depth_json(folder, self.step, FIRST_FRAME, **size, largest=largest, alignment="none", **facts)

    def _color_scales(self) -> list[ColorScale]:
        """Those that rows of the gallery use."""
        captions = {caption for row in self.rows for caption in row.pictures}
        scales = {
            caption: ColorScale(caption, unit.display_max, unit=unit.behind_numbers)
            for caption, unit in zip(self._captions, (self._predicted, self._aligned), strict=True)
            if unit is not None and caption in captions
        }
        if "Error" in captions and self._aligned is not None:
            unit = self._aligned
            scales["Error"] = ColorScale("Error", _max_error(unit), unit=unit.behind_numbers, colorize=colorize_error)
        return list(scales.values())

    def _unit_of(self, depth: np.ndarray) -> DepthUnit:
        """Of predicted depth; ``depth`` decides it when it is the first."""
        if self._predicted is None:
            self._predicted = median_unit(depth, FIRST_FRAME)
        return self._predicted

    def _unit_of_truth(self, gt_mm: np.ndarray) -> DepthUnit:
        """Of the truth and what is aligned with it."""
        if self._aligned is None:
            self._aligned = median_unit(gt_mm, FIRST_TRUTH)
        return self._aligned

    def _save_array(self, relative: str, array: np.ndarray) -> None:
        with atomic_path(self.partial / relative) as temporary:
            np.save(temporary, array)


def _colorize(depth: np.ndarray, unit: DepthUnit) -> np.ndarray:
    return colorize_depth(unit.of(depth), unit.display_max)


def draw_points(rgb: np.ndarray, points: KnownPoints, unit: DepthUnit) -> np.ndarray:
    """Points as discs in the colour of their depth, on the dimmed frame (H, W, 3) in [0, 1]; uint8 (H, W, 3)."""
    picture = _to_uint8(DIMMED * rgb)
    radius = max(1, round(DISC_SHARE * picture.shape[1]))
    for (row, column), color in zip(
        points.pixels.tolist(), _colorize(points.depth[None], unit)[0].tolist(), strict=True
    ):
        cv2.circle(picture, (column, row), radius, color, cv2.FILLED)
    return picture


def _with_bar(picture: np.ndarray, unit: DepthUnit) -> np.ndarray:
    """The picture with a colour bar beside it; pictures too small for one stay as they are."""
    return add_color_bar(picture, unit.display_max, unit=unit.on_bars) if picture.shape[0] >= 64 else picture


def _max_error(unit: DepthUnit) -> float:
    return ERROR_SHARE * unit.display_max


def _to_uint8(rgb: np.ndarray) -> np.ndarray:
    return np.rint(rgb * 255).clip(0, 255).astype(np.uint8)

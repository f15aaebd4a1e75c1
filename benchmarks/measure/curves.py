"""Published rate-distortion curves: a folder of JSON files as the CompressAI project writes them."""

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure.bdrate import Point


@dataclass(frozen=True)
class Curve:
    """A named rate-distortion curve; ``points`` are (bits per pixel, PSNR in decibels)."""

    name: str
    points: tuple[Point, ...]


def read_curve(path: Path) -> Curve | None:
    """The curve in one file, or None if the file holds something else than one curve.

    A curve's file has ``{"results": {"bpp": [...], "psnr-rgb": [...]}}``.
    Raises ValueError for a file that is not JSON, or lists of different lengths.
    """
    content = json.loads(path.read_text())
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not {"bpp", "psnr-rgb"} <= results.keys():
        return None
    points = tuple(zip(results["bpp"], results["psnr-rgb"], strict=True))
    return Curve(short_name(path.stem), points)


def read_folder(folder: Path) -> list[Curve]:
    """All curves in a folder's ``*.json``, by file name; raises FileNotFoundError without the folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder of curves: {folder}")
    curves = (read_curve(path) for path in sorted(folder.glob("*.json")))
    return [curve for curve in curves if curve is not None]


def short_name(stem: str) -> str:
    """A file's name without what all files of its source share: "mbt2018-mean"."""
    return stem.removeprefix("compressai-").removesuffix("_mse_cuda").removesuffix("_mse")

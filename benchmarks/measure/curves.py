"""Rate-distortion curves: points from measurements of single pictures, and published curves from files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure.bdrate import Point
from benchmarks.measure.cache import Measurement
from benchmarks.measure.pictures import Picture

NO_ERROR = 60.0
"""The PSNR in decibels that stands for no error at all, so that a mean exists."""


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


def mean_point(pictures: Sequence[Picture], measured: Sequence[Measurement], layer: int = -1) -> Point:
    """Mean bits per pixel and mean PSNR of a layer; one measurement per picture.

    As in the published curves both means are over pictures, and the pixels are the picture's own,
    so for the last layer the rate is the whole stream's.
    """
    rates = [
        8 * layers[layer][0] / picture.size.area for picture, layers in zip(pictures, measured, strict=True)
    ]
    return float(np.mean(rates)), float(np.mean([min(layers[layer][1], NO_ERROR) for layers in measured]))


def curve_points(
    pictures: Sequence[Picture], by_setting: Sequence[Sequence[Measurement]]
) -> tuple[Point, ...]:
    """One point of the last layer per setting; each setting has one measurement per picture."""
    return tuple(mean_point(pictures, measured) for measured in by_setting)


def as_layers(parts: Sequence[Measurement]) -> Measurement:
    """Simulcast: separately coded sizes, smallest first, counted as the layers of one stream."""
    layers: Measurement = []
    for part in parts:
        (size, psnr) = part[-1]
        layers.append([size + (layers[-1][0] if layers else 0), psnr])
    return layers

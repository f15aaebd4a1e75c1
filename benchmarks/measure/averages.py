"""From measurements of single pictures to the points of a curve."""

from collections.abc import Sequence

import numpy as np

from benchmarks.measure.bdrate import Point
from benchmarks.measure.cache import Measurement
from benchmarks.measure.pictures import Picture

NO_ERROR = 60.0
"""The PSNR in decibels that stands for no error at all, so that a mean exists."""


def mean_point(pictures: Sequence[Picture], measured: Sequence[Measurement], layer: int = -1) -> Point:
    """Mean bits per pixel and mean PSNR of a layer; one measurement a picture.

    As in the published curves both means are over pictures, and the pixels are the picture's own,
    so for the last layer the rate is the whole stream's.
    """
    rates = [
        8 * layers[layer][0] / (picture.size[0] * picture.size[1])
        for picture, layers in zip(pictures, measured, strict=True)
    ]
    return float(np.mean(rates)), float(np.mean([min(layers[layer][1], NO_ERROR) for layers in measured]))


def curve_points(
    pictures: Sequence[Picture], by_setting: Sequence[Sequence[Measurement]]
) -> tuple[Point, ...]:
    """One point of the last layer a setting; each setting holds one measurement a picture."""
    return tuple(mean_point(pictures, measured) for measured in by_setting)


def together(parts: Sequence[Measurement]) -> Measurement:
    """Simulcast: separately coded sizes, smallest first, counted as the layers of one stream."""
    layers: Measurement = []
    for part in parts:
        (size, psnr) = part[-1]
        layers.append([size + (layers[-1][0] if layers else 0), psnr])
    return layers

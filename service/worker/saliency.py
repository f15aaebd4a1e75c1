"""Where a picture catches the eye, cheaply: the point that ``focus=auto`` keeps in sight.

Colours that stand out from what is around them, in CIELAB, at several scales, weighed a little towards the
middle; the point is the centre of gravity. It knows nothing of faces. On photographs whose subject is in the
middle it is as good as the middle, on others better (docs/quality.md has the figures).
"""

import numpy as np
from PIL import Image

_EDGE = 64
"""The longer side of what is looked at, in pixels."""
_SCALES = ((2, 6), (2, 10), (4, 12), (4, 20))
"""Radii of what stands out and of what is around it, in pixels of that."""
_SHARPNESS = 3
"""How much more what stands out most counts than the rest."""
_MIDDLE = 0.25
"""Standard deviation of the weight of the middle, in edges of the picture."""

Point = tuple[float, float]
"""Shares of width and height, 0 to 1 from the upper left corner."""


def salient_point(rgb: Image.Image, alpha: Image.Image | None = None) -> Point:
    """The point of an RGB picture, rounded to hundredths; the middle where nothing stands out."""
    scale = min(1, _EDGE / max(rgb.size))
    size = (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale)))
    lab = np.asarray(rgb.resize(size, Image.Resampling.BOX).convert("LAB")).astype(np.float64)
    lab[..., 1:] = (lab[..., 1:] + 128) % 256 - 128  # Pillow keeps signed bytes there
    contrast = np.zeros(lab.shape[:2])
    for inner, outer in _SCALES:
        contrast += np.sqrt(((_blurred(lab, inner) - _blurred(lab, outer)) ** 2).sum(-1))
    if alpha is not None:
        contrast *= np.asarray(alpha.resize(size, Image.Resampling.BOX)) / 255
    most = contrast.max()
    if most < 1:
        return 0.5, 0.5
    y, x = ((np.arange(n) + 0.5) / n for n in contrast.shape)
    weight = (contrast / most) ** _SHARPNESS
    weight *= np.exp(-((y[:, None] - 0.5) ** 2 + (x[None] - 0.5) ** 2) / (2 * _MIDDLE**2))
    across, down = (weight.sum(0) * x).sum() / weight.sum(), (weight.sum(1) * y).sum() / weight.sum()
    return round(float(across), 2), round(float(down), 2)


def _blurred(planes: np.ndarray, radius: int) -> np.ndarray:
    """The mean of a square around each pixel; beyond the edge its pixels go on."""
    for axis in (0, 1):
        pad = [(0, 0)] * planes.ndim
        pad[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(planes, pad, mode="edge"), axis)
        size, width = planes.shape[axis], 2 * radius + 1
        planes = (np.take(sums, range(width, width + size), axis) - np.take(sums, range(size), axis)) / width
    return planes

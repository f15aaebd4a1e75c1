"""8-bit pixels to numbers of about 0 to 1 and back."""

from collections.abc import Callable

import numpy as np
import torch
from numba import float32, types, void
from numpy.typing import NDArray
from torch import Tensor

from model.compiled import compiled
from model.geometry import Box, Size

Pixels = NDArray[np.uint8]
"""sRGB pixels (height, width, 3), of a batch (B, height, width, 3)."""
Source = Callable[[Box], Tensor]
"""Gives the values (B, 3, h, w) of a box of a picture, about 0 to 1."""
_STRIP = 2**20
"""Pixels that are compared at a time."""


def size_of(pixels: Pixels) -> Size:
    """Height and width of a picture (height, width, 3)."""
    return Size(*pixels.shape[:2])


def source_of(pixels: Pixels, device: torch.device) -> Source:
    """The values (1, 3, h, w) of a picture (height, width, 3), box by box."""
    return lambda box: to_numbers(pixels[None, *box.slices], device)


def to_numbers(pixels: Pixels, device: torch.device) -> Tensor:
    """uint8 (B, h, w, 3) -> float32 (B, 3, h, w), values 0 to 1, channels last in memory."""
    tensor = torch.from_numpy(np.array(pixels, order="C")).to(device)
    return tensor.permute(0, 3, 1, 2).float().div_(255)


def to_pixels(x: Tensor, prediction: Tensor | None = None) -> Pixels:
    """(B, 3, h, w) of about 0 to 1, added to a prediction if there is one -> uint8 (B, h, w, 3)."""
    if prediction is None:
        prediction = x.new_zeros(()).expand_as(x)
    if x.device.type == "cpu" and x.dtype == torch.float32:
        out = np.empty((len(x), *x.shape[2:], 3), np.uint8)
        for picture, below, rounded in zip(x.numpy(), prediction.numpy(), out, strict=True):
            _round(picture, below, rounded)
        return out
    rounded = torch.round((x + prediction).clamp(0, 1) * 255).to(torch.uint8)
    return rounded.permute(0, 2, 3, 1).cpu().numpy()


def squared_error(one: Pixels, other: Pixels) -> float:
    """The sum of the squared differences of two pictures (height, width, 3), in units of 8 bits."""
    rows = max(1, _STRIP // one.shape[1])
    total = 0.0
    for top in range(0, len(one), rows):
        difference = one[top : top + rows].astype(np.int32) - other[top : top + rows]
        total += float(np.square(difference).sum(dtype=np.int64))
    return total


_ANY = types.Array(float32, 3, "A", readonly=True)


@compiled(void(_ANY, _ANY, types.uint8[:, :, ::1]))
def _round(x, prediction, out):  # type: ignore[no-untyped-def]
    """Write the sum of ``x`` and ``prediction`` (3, h, w) to ``out`` (h, w, 3) in one pass."""
    for y in range(out.shape[0]):
        for i in range(out.shape[1]):
            for c in range(3):
                value = x[c, y, i] + prediction[c, y, i]
                value = min(max(value, np.float32(0)), np.float32(1)) * np.float32(255)
                out[y, i, c] = np.uint8(np.rint(value))

"""8-bit pixels to numbers of about 0 to 1 and back."""

import numpy as np
import torch
from numba import float32, types, void
from numpy.typing import NDArray
from torch import Tensor

from model.compiled import compiled

Pixels = NDArray[np.uint8]
"""sRGB pixels (height, width, 3), of a batch (B, height, width, 3)."""


def to_numbers(pixels: Pixels, device: torch.device) -> Tensor:
    """uint8 (B, h, w, 3) -> float32 (B, 3, h, w), values 0 to 1, channels last in memory."""
    tensor = torch.from_numpy(np.array(pixels, order="C")).to(device)
    return tensor.permute(0, 3, 1, 2).float().div_(255)


def to_pixels(x: Tensor, prediction: Tensor | None = None) -> Pixels:
    """(B, 3, h, w) of about 0 to 1, added to a prediction if there is one -> uint8 (B, h, w, 3)."""
    if x.device.type == "cpu" and x.dtype == torch.float32:
        out = np.empty((len(x), *x.shape[2:], 3), np.uint8)
        for picture, below, rounded in zip(
            x.numpy(), x if prediction is None else prediction, out, strict=True
        ):
            _round(picture, below.numpy(), np.float32(prediction is not None), rounded)
        return out
    x = x if prediction is None else x + prediction
    rounded = torch.round(x.clamp(0, 1) * 255).to(torch.uint8)
    return rounded.permute(0, 2, 3, 1).cpu().numpy()


_ANY = types.Array(float32, 3, "A", readonly=True)


@compiled(void(_ANY, _ANY, float32, types.uint8[:, :, ::1]))
def _round(x, prediction, share, out):  # type: ignore[no-untyped-def]
    """Write (3, h, w), and that share of the prediction, to ``out`` (h, w, 3) in one pass."""
    for y in range(out.shape[0]):
        for i in range(out.shape[1]):
            for c in range(3):
                value = x[c, y, i] + share * prediction[c, y, i]
                value = min(max(value, np.float32(0)), np.float32(1)) * np.float32(255)
                out[y, i, c] = np.uint8(np.rint(value))

"""The integer hyper-synthesis with activations of 16 and sums of 32 bits: the same numbers, in less time.

Sums of 16-bit products could leave 32 bits, so each layer has a limit: whatever activations within it come
together, no sum of any output can. Activations are compared with the next layer's limit as they are
computed. Where one is larger, on pictures unlike all that weights are trained with, nothing is given, and
the caller computes in float64, which is exact for all of them (:mod:`model.network.priors`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.geometry import PriorBoxes, Size
from model.network.integer_convolution import (
    OUTPUTS,
    POSITIONS,
    Sums32,
    Weights16,
    activate,
    convolve,
    finish,
    packed,
    vector_bits,
)

LEAK_SHIFT = 7
"""Negative activations are divided by 2^7."""
_LARGEST = 2**15 - 1
"""The largest activation of 16 bits."""
_SMALLEST_SHIFT = 8
"""With it a rounded sum of 32 bits stays below 2^24, where the exact definition clamps."""
_USEFUL = 2**10
"""Limits below this are exceeded too often."""


@dataclass(frozen=True)
class NarrowLayer:
    """A layer's ``weights`` (9 C / 2, O padded, 2) and biases (O padded,), and what is done with its sums.

    ``limit``: the largest activation below it. ``shift``: its sums are divided by 2^shift, or less.
    """

    weights: Weights16
    bias: Sums32
    limit: int
    shift: int

    @classmethod
    def of(cls, weight: NDArray[Any], bias: NDArray[Any], shift: int) -> "NarrowLayer":
        """The layer of integer weights (O, C, 3, 3) and biases (O,)."""
        reach = np.abs(weight).sum((1, 2, 3))
        room = 2**31 - 1 - 2 ** max(shift - 1, 0) - np.abs(bias)
        limit = int(min((room // np.maximum(reach, 1)).min(), _LARGEST))
        padded = np.zeros(-(-len(bias) // OUTPUTS) * OUTPUTS, np.int32)
        padded[: len(bias)] = bias if limit > 0 else 0
        return cls(packed(weight), padded, limit, shift)

    @property
    def channels(self) -> int:
        """Of the activations below it."""
        return len(self.weights) // 9 * 2

    def sums(self, activations: NDArray[np.int16]) -> Sums32:
        """Of all positions (h, w, O padded); ``activations`` (h + 2, w + 2, C) have their padding."""
        return convolve(activations, self.weights, self.bias)


@dataclass(frozen=True)
class NarrowSynthesis:
    """Hyper-latents -> scale-table indexes and means of the latents.

    ``last`` gives the sums of the indexes (M), which are divided by 2^``index_shift`` and clamped to
    0 ... ``highest``, and then those of the means (M), which are divided by 2^``mean_shift``.
    """

    up1: NarrowLayer
    up2: NarrowLayer
    last: NarrowLayer
    index_shift: int
    mean_shift: int
    latents: int
    highest: int

    @property
    def useful(self) -> bool:
        """Whether this machine has the instruction, and these weights leave room for usual activations."""
        shifts = self.up1.shift, self.up2.shift, self.index_shift, self.mean_shift
        limits = self.up1.limit, self.up2.limit, self.last.limit
        return vector_bits() > 0 and min(shifts) >= _SMALLEST_SHIFT and min(limits) >= _USEFUL

    def priors(
        self, z: NDArray[np.float64], boxes: PriorBoxes
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]] | None:
        """Table indexes and means (M, h, w) of ``boxes.wanted``, or None where a limit is exceeded.

        ``z`` (N, h, w): the hyper-latents of ``boxes.inner``, integers.
        """
        if np.abs(z).max() > self.up1.limit:
            return None
        x, inside = _padded(boxes.inner.size, len(z))
        inside[...] = z.transpose(1, 2, 0)
        steps = (
            (self.up1, self.up2, boxes.inner, boxes.middle),
            (self.up2, self.last, boxes.middle, boxes.outer),
        )
        for layer, following, below, above in steps:
            sums = layer.sums(x)
            x, inside = _padded(above.size, following.channels)
            top, left = above.top - 2 * below.top, above.left - 2 * below.left
            if not activate(sums, layer.shift, LEAK_SHIFT, top, left, following.limit, inside):
                return None
        index = np.empty((self.latents, *boxes.wanted.size), np.uint8)
        mean = np.empty((self.latents, *boxes.wanted.size), np.int32)
        top, left = boxes.wanted.top - boxes.outer.top, boxes.wanted.left - boxes.outer.left
        finish(self.last.sums(x), self.index_shift, self.mean_shift, top, left, self.highest, index, mean)
        return index, mean


def _padded(size: Size, channels: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Zeros for activations and their padding, and the part (h, w, C) of them that is not padding."""
    width = -(-size.width // POSITIONS) * POSITIONS
    x = np.zeros((size.height + 2, width + 2, channels), np.int16)
    return x, x[1:-1, 1 : size.width + 1]

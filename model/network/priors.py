"""The hyper-synthesis on integers: the only part of the network that must be exact.

The entropy decoder needs, for every latent, the same table index that the encoder used; one index
off and the rest of the tile is noise. So this part maps integers to integers: hyper-latent symbols
in, integer weights, power-of-two rescaling, table index and fixed-point mean out. There is no
exponential, logarithm or division, and every sum stays below 2^53, where float64 is exact: the
order of additions, the number of threads and the hardware cannot change the result.
"""

from dataclasses import dataclass
from functools import cached_property
from math import log2

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.errors import WeightsError
from model.geometry import Box, PriorBoxes, Size, divide, prior_boxes
from model.network.compass import SCALE_COUNT
from model.network.integer_convolution import of_transposed
from model.network.narrow import LEAK_SHIFT, NarrowLayer, NarrowSynthesis

FRACTION = 8
"""Activations and means are integers in units of 2^-8."""
ACTIVATION_LIMIT = 2**24
"""Activations and hyper-latents are clamped to less than this."""
EXACT = 2**53
"""Integers below this are exact in float64."""
_LARGEST_SHIFT = 30
_BLOCK = 32  # latents: bounds the memory of one evaluation


@dataclass(frozen=True)
class IntegerLayer:
    """A convolution with integer ``weight`` in units of 2^-shift; ``bias`` in units of a sum.

    Raises WeightsError if one of them is no integer, if the shift is not 0 to 30, or if a sum could reach
    2^53 for any input below ACTIVATION_LIMIT.
    """

    weight: Tensor  # float64 of integers
    bias: Tensor  # float64 of integers
    shift: int

    def __post_init__(self) -> None:
        if not all(torch.equal(numbers, numbers.round()) for numbers in (self.weight, self.bias)):
            raise WeightsError("an integer layer has numbers that are no integers")
        if not 0 <= self.shift <= _LARGEST_SHIFT:
            raise WeightsError(f"an integer layer's shift is {self.shift}")
        if not self._largest_sum() < EXACT:
            raise WeightsError("an integer layer's sums could exceed 2^53")

    def headroom(self) -> float:
        """Bits between the largest possible sum of any output channel and 2^53."""
        return log2(EXACT) - log2(max(self._largest_sum(), 1))

    def _largest_sum(self) -> float:
        axes = (0, 2, 3) if self.transposed else (1, 2, 3)
        return float((self.weight.abs().sum(axes) * ACTIVATION_LIMIT + self.bias.abs()).max())

    @property
    def transposed(self) -> bool:
        """5 x 5 stride-2 transposed convolution (else 3 x 3 convolution)."""
        return self.weight.shape[-1] == 5

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weight and bias on the CPU."""
        return self.weight.cpu().numpy(), self.bias.cpu().numpy()

    def sums(self, x: Tensor) -> Tensor:
        """(C, h, w) integers -> (C', 2h, 2w) or (C', h, w) sums in units of 2^-(FRACTION + shift).

        Written as matrix products: no library may pick a Winograd or Fourier convolution.
        """
        height, width = x.shape[1:]
        if self.transposed:
            columns = self.weight.flatten(1).T @ x.flatten(1)
            size = (2 * height, 2 * width)
            out = F.fold(columns[None], size, 5, padding=2, stride=2)[0]
        else:
            columns = F.unfold(x[None], 3, padding=1)[0]
            out = (self.weight.flatten(1) @ columns).view(-1, height, width)
        return out + self.bias[:, None, None]

    def rounded(self, x: Tensor, shift: int) -> Tensor:
        """The layer's sums divided by 2^shift, halves rounded up, clamped."""
        scaled = torch.floor(self.sums(x) * 2.0**-shift + 0.5)
        return scaled.clamp(1 - ACTIVATION_LIMIT, ACTIVATION_LIMIT - 1)


_DTYPES = {"medians": torch.int32, "weight": torch.int16, "bias": torch.int64, "shift": torch.int16}
"""Of the arrays of a weight file, by the end of their names."""


def leaky(x: Tensor) -> Tensor:
    """Integers: x, or x / 128 rounded down where negative."""
    return torch.where(x < 0, torch.floor(x * 2.0**-LEAK_SHIFT), x)


@dataclass(frozen=True)
class IntegerHyperSynthesis:
    """Hyper-latent symbols -> scale-table indexes and means, exactly (see the module)."""

    medians: Tensor  # (N, 1, 1) float64 of integers, units of 2^-FRACTION
    up1: IntegerLayer
    up2: IntegerLayer
    index: IntegerLayer
    mean: IntegerLayer

    def __post_init__(self) -> None:
        channels, latents = self.shape
        first, middle = self.up1.weight.shape[1], self.up2.weight.shape[1]
        wanted = {
            "up1": (channels, first, 5, 5),
            "up2": (first, middle, 5, 5),
            "index": (latents, middle, 3, 3),
            "mean": (latents, middle, 3, 3),
        }
        for name, shape in wanted.items():
            layer: IntegerLayer = getattr(self, name)
            outputs = shape[1] if layer.transposed else shape[0]
            if tuple(layer.weight.shape) != shape or tuple(layer.bias.shape) != (outputs,):
                raise WeightsError(f"integer hyper-synthesis: layer {name} has another shape than {shape}")

    @property
    def shape(self) -> tuple[int, int]:
        """Channels of the hyper-latents and of the latents."""
        return len(self.medians), self.index.weight.shape[0]

    def inputs(self, box: Box, size: Size) -> Box:
        """The hyper-latents that the priors of the latents in ``box`` depend on.

        ``size`` is the layer's in pixels.
        """
        return prior_boxes(box, size).inner

    def __call__(self, symbols: Tensor, window: Box, box: Box, size: Size) -> tuple[Tensor, Tensor]:
        """Priors of the latents in ``box``.

        ``symbols``: int (N, h, w), the hyper-latents of ``window``, which holds ``inputs(box)``.
        Returns table indexes uint8 (M, *box.size) and means int32 in units of 2^-FRACTION.
        """
        M = self.shape[1]
        index = torch.empty((M, *box.size), dtype=torch.uint8, device=symbols.device)
        mean = torch.empty((M, *box.size), dtype=torch.int32, device=symbols.device)
        for part in divide(box, _BLOCK):
            boxes = prior_boxes(part, size)
            z = symbols[:, *boxes.inner.inside(window)].double() * 2**FRACTION + self.medians
            z = z.clamp(1 - ACTIVATION_LIMIT, ACTIVATION_LIMIT - 1)
            rows, columns = part.inside(box)
            index[:, rows, columns], mean[:, rows, columns] = self._priors(z, boxes)
        return index, mean

    @cached_property
    def _narrow(self) -> NarrowSynthesis | None:
        """The same layers in 16 and 32 bits, if that is faster with these weights on this device."""
        layers = self.up1, self.up2, self.index, self.mean
        inputs = [layer.weight.shape[0 if layer.transposed else 1] for layer in layers]
        if self.medians.device.type != "cpu" or any(channels % 2 for channels in inputs):
            return None
        shifts = self.index.shift + FRACTION, self.mean.shift
        up1, up2 = (
            NarrowLayer.of(of_transposed(weight), np.tile(bias, 4), layer.shift)
            for layer, (weight, bias) in ((layer, layer.arrays()) for layer in (self.up1, self.up2))
        )
        (index_weight, index_bias), (mean_weight, mean_bias) = self.index.arrays(), self.mean.arrays()
        weight, bias = np.concatenate([index_weight, mean_weight]), np.concatenate([index_bias, mean_bias])
        last = NarrowLayer.of(weight, bias, max(shifts))
        narrow = NarrowSynthesis(up1, up2, last, *shifts, latents=self.shape[1], highest=SCALE_COUNT - 1)
        return narrow if narrow.useful else None

    def _priors(self, z: Tensor, boxes: PriorBoxes) -> tuple[Tensor, Tensor]:
        """Indexes and means of ``boxes.wanted`` from the hyper-latents (N, h, w) of ``boxes.inner``."""
        if self._narrow is not None:
            priors = self._narrow.priors(z.numpy(), boxes)
            if priors is not None:
                return torch.from_numpy(priors[0]), torch.from_numpy(priors[1])
        x = leaky(self.up1.rounded(z, self.up1.shift))[:, *boxes.middle.inside(boxes.inner.times(2))]
        x = leaky(self.up2.rounded(x, self.up2.shift))[:, *boxes.outer.inside(boxes.middle.times(2))]
        cut = boxes.wanted.inside(boxes.outer)
        index = self.index.rounded(x, self.index.shift + FRACTION)[:, *cut]
        mean = self.mean.rounded(x, self.mean.shift)[:, *cut]
        return index.clamp(0, SCALE_COUNT - 1).to(torch.uint8), mean.to(torch.int32)

    def centers(self) -> Tensor:
        """The hyper-latents' centres (1, N, 1, 1) in float32."""
        return (self.medians * 2.0**-FRACTION).float()[None]

    def to(self, device: torch.device) -> "IntegerHyperSynthesis":
        """A copy on another device."""
        layers = (
            IntegerLayer(layer.weight.to(device), layer.bias.to(device), layer.shift)
            for layer in (self.up1, self.up2, self.index, self.mean)
        )
        return IntegerHyperSynthesis(self.medians.to(device), *layers)

    def to_arrays(self) -> dict[str, Tensor]:
        """As integer tensors for a weight file."""
        arrays = {"medians": self.medians.flatten().to(torch.int32)}
        for name in ("up1", "up2", "index", "mean"):
            layer = getattr(self, name)
            arrays[f"{name}.weight"] = layer.weight.to(torch.int16)
            arrays[f"{name}.bias"] = layer.bias.to(torch.int64)
            arrays[f"{name}.shift"] = torch.tensor([layer.shift], dtype=torch.int16)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> "IntegerHyperSynthesis":
        """The inverse of :meth:`to_arrays`; raises WeightsError."""
        for name, dtype in _DTYPES.items():
            for key, array in arrays.items():
                if key.endswith(name) and array.dtype != dtype:
                    raise WeightsError(f"integer hyper-synthesis: {key} is {array.dtype}, not {dtype}")
        try:
            layers = [
                IntegerLayer(
                    arrays[f"{name}.weight"].double(),
                    arrays[f"{name}.bias"].double(),
                    int(arrays[f"{name}.shift"]),
                )
                for name in ("up1", "up2", "index", "mean")
            ]
            return cls(arrays["medians"].double().view(-1, 1, 1), *layers)
        except (KeyError, IndexError, RuntimeError) as error:
            raise WeightsError(f"integer hyper-synthesis: {error}") from error

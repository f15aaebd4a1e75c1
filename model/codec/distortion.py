"""The error of a layer's pixels as a function of its latents: what an encoder differentiates."""

from dataclasses import dataclass

from torch import Tensor

from model.codec.pixels import Source
from model.geometry import Box, Size
from model.network.transforms import Transforms


@dataclass(frozen=True)
class Target:
    """What the latents of a layer of ``size`` pixels are chosen for.

    ``original`` gives the layer's pixels, ``prediction`` LIFF's, of an enhancement layer. ``inverse_gain``
    (1, M, 1, 1) and ``multiplier``, lambda, are those of the layer's quality: a squared error of 1, of values
    from 0 to 255, on all three channels of a pixel is worth ``multiplier`` bits.
    """

    transforms: Transforms
    size: Size
    original: Source
    prediction: Source | None
    inverse_gain: Tensor
    multiplier: float


class Part:
    """A box of a layer's ``pixels``, and ``seen``, the box of latents that these depend on.

    What it holds are copies, so that gradients can flow even where the sources were computed without.
    """

    def __init__(self, target: Target, pixels: Box):
        self.seen = target.transforms.latents_for_pixels(pixels, target.size)
        self._target, self._pixels = target, pixels
        self._original = target.original(pixels).clone()
        self._gain = target.inverse_gain.clone()
        self._prediction: Tensor | None = None
        if target.prediction is not None:
            needed = target.transforms.prediction_for_pixels(pixels, target.size)
            self._prediction = target.prediction(needed).clone()
            self._original -= self._prediction[..., *pixels.inside(needed)]

    def squares(self, latents: Tensor) -> Tensor:
        """255^2 times the squared error of the box's pixels, the mean of their channels, summed.

        ``latents`` (1, M, h, w) of ``seen`` are in units of the quantiser's step.
        """
        target = self._target
        y = latents * self._gain
        x = target.transforms.synthesise(y, self.seen, self._pixels, target.size, self._prediction)
        return 255**2 * (x.float() - self._original).square().mean(1).sum()

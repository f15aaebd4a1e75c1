"""Rate and distortion: what a stream of a quality weighs against each other (eq. 5)."""

from math import log, pi, sqrt

import torch
from torch import Tensor

from model.network.config import Config

FEW_BITS = 16.0
"""What a latent may cost before its cost is damped."""
_FAR = 4.0  # deviations from the mean; beyond, the difference of two error functions has no digits left
_LEAST = 2.0**-24


def lagrange_multiplier(config: Config, level: Tensor) -> Tensor:
    """Lambda of the rate-distortion loss at gain level 0 to ``levels - 1``, in between geometric."""
    ratio = log(config.lambda_high / config.lambda_low) / (config.levels - 1)
    return config.lambda_low * torch.exp(ratio * level)


def gaussian_bits(x: Tensor, scale: Tensor) -> Tensor:
    """Bits of the interval of width 1 around ``x`` under a Gaussian of mean 0, elementwise.

    Far from the mean computed from logarithms: a likelihood would be 0, without a gradient, 13 scales from
    the mean, and a scale that is far too small, whose latents the codec leaves out, would never be mended.
    Beyond ``FEW_BITS`` the bits grow logarithmically, so that no latent outweighs all others.
    """
    distance = x.abs()
    near, far = (distance - 0.5) / scale, (distance + 0.5) / scale
    likelihood = 0.5 * (torch.erfc(near * sqrt(0.5)) - torch.erfc(far * sqrt(0.5)))
    usual = -torch.log2(likelihood.clamp(min=_LEAST))
    is_far = near > _FAR
    if x.device.type == "cpu" and not is_far.any():  # elsewhere the answer would have to be waited for
        return usual
    bits = torch.where(is_far, _tail_bits(near.clamp(min=_FAR), far.clamp(min=_FAR)), usual)
    return torch.where(bits > FEW_BITS, FEW_BITS * (1 + torch.log(bits.clamp(min=FEW_BITS) / FEW_BITS)), bits)


def _tail_bits(near: Tensor, far: Tensor) -> Tensor:
    """Bits of the interval from ``near`` to ``far`` deviations, both at least 4, by the tail's expansion."""
    inverse = near.square().reciprocal()
    log_tail = (
        -0.5 * near.square() - torch.log(near) + torch.log1p(inverse * (inverse * (3 - 15 * inverse) - 1))
    )
    beyond = torch.exp(0.5 * (near.square() - far.square())) * near / far
    return (0.5 * log(2 * pi) - log_tail - torch.log1p(-beyond)) / log(2)

"""Trained weights to the integer hyper-synthesis, at the export of weights."""

from math import log

import torch
from torch import Tensor, nn

from model.network.compass import SCALE_COUNT, SCALE_HIGH, SCALE_LOW, Hyperprior
from model.network.priors import FRACTION, IntegerHyperSynthesis, IntegerLayer

_MOST_FRACTIONAL_BITS, _FEWEST_FRACTIONAL_BITS = 14, 8
_LARGEST_HYPER_LATENT = 2.0**15
_LARGEST_ACTIVATION = 2.0**13
"""Up to these, in units of 2^-FRACTION, the hyper-synthesis is meant to be computed in 16 and 32 bits."""


def integer_hyper_synthesis(hyperprior: Hyperprior) -> IntegerHyperSynthesis:
    """The integer form of a trained hyper-synthesis.

    The network gives the logarithm of a scale; the integer form gives the index of that scale in the
    geometric table, which is linear in the logarithm. Raises WeightsError if a sum could reach 2^53.
    """
    up1, up2, last = list(hyperprior.hyper_synthesis)
    assert isinstance(up1, nn.ConvTranspose2d)
    assert isinstance(up2, nn.ConvTranspose2d)
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    steps = log(SCALE_HIGH / SCALE_LOW) / (SCALE_COUNT - 1)
    M = last.out_channels // 2
    weight, bias = last.weight.detach().double(), last.bias.detach().double()
    index_weight, mean_weight = weight.split(M)
    index_bias, mean_bias = bias.split(M)
    return IntegerHyperSynthesis(
        torch.round(hyperprior.medians().double()[0] * 2**FRACTION),
        integer_layer(up1.weight, up1.bias, _LARGEST_HYPER_LATENT),
        integer_layer(up2.weight, up2.bias, _LARGEST_ACTIVATION),
        integer_layer(index_weight / steps, (index_bias - log(SCALE_LOW)) / steps, _LARGEST_ACTIVATION),
        integer_layer(mean_weight, mean_bias, _LARGEST_ACTIVATION),
    )


def integer_layer(weight: Tensor, bias: Tensor | None, largest: float) -> IntegerLayer:
    """A convolution with 16-bit integer weights, of as many fractional bits as fit.

    They are at most 14, and 8 or so few that sums of activations up to ``largest`` stay within 32 bits
    (:mod:`model.network.narrow`). Raises WeightsError if a sum could reach 2^53.
    """
    assert bias is not None
    weight, bias = weight.detach().double().cpu(), bias.detach().double().cpu()
    axes = (0, 2, 3) if weight.shape[-1] == 5 else (1, 2, 3)
    sums = float((weight.abs().sum(axes) * largest + bias.abs() * 2**FRACTION).max())
    shift = _MOST_FRACTIONAL_BITS
    while shift > _FEWEST_FRACTIONAL_BITS and sums * 2**shift >= 2**31 - 2 ** (shift + FRACTION):
        shift -= 1
    while float(weight.abs().max()) * 2**shift >= 2**15 - 1:
        shift -= 1
    return IntegerLayer(torch.round(weight * 2**shift), torch.round(bias * 2 ** (shift + FRACTION)), shift)

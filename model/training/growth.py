"""More latents for a trained hyperprior: a wider network that begins as the narrower one.

The new latents must not begin small. What rounds to 0 reaches neither the synthesis nor its gradient, costs
nothing, and stays so: latents begun with a tenth of a fresh kernel were all 0 after 6872 steps.
"""

from math import log

import torch
from torch import Tensor

DEAD = 0.1
"""A latent whose kernel is shorter than this share of the longest has become nothing."""
FADE = log(2)
"""New latents count half as much at each lower gain level: high qualities are what they are for."""


def can_grow(old: dict[str, Tensor], new: dict[str, Tensor]) -> bool:
    """Whether ``new`` are weights of a hyperprior like ``old`` but with more latents."""
    few, many = (len(weights.get("analysis.3.weight", ())) for weights in (old, new))
    names = ("analysis.3.weight", "hyper_synthesis.2.weight")
    return 0 < few < many and all(old[name].shape[1:] == new[name].shape[1:] for name in names)


def grown(old: dict[str, Tensor], new: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a hyperprior ``new`` that continues ``old``, which has fewer latents.

    Old latents come first and are coded and decoded as before. New ones look at the picture in directions
    of their own (orthogonal to the old kernels, and as long), with the average of the old latents' priors;
    the synthesis and the hyper-analysis learn from zero what to make of them.
    """
    M = len(old["analysis.3.weight"])
    known = old["analysis.3.weight"].flatten(1)
    directions = torch.linalg.qr(known.T).Q
    fresh = new["analysis.3.weight"][M:].flatten(1)
    fresh = fresh - fresh @ directions @ directions.T
    fresh = fresh * known.norm(dim=1).median() / fresh.norm(dim=1, keepdim=True)
    result = {
        "analysis.3.weight": torch.cat([known, fresh]).view_as(new["analysis.3.weight"]),
        "analysis.3.bias": _padded(old["analysis.3.bias"], new["analysis.3.bias"]),
        "synthesis.0.weight": _padded(old["synthesis.0.weight"], new["synthesis.0.weight"]),
        "hyper_analysis.0.weight": _padded(old["hyper_analysis.0.weight"], new["hyper_analysis.0.weight"]),
    }
    for kind in ("weight", "bias"):  # the scales of all latents, then their means
        name = f"hyper_synthesis.2.{kind}"
        scale, mean = old[name].chunk(2)
        _, wide = new[name].chunk(2)
        average = scale.mean(0, keepdim=True).expand(len(wide) - M, *scale.shape[1:])
        result[name] = torch.cat([scale, average, _padded(mean, wide)])
    levels = len(old["log_gain"])
    fade = FADE * torch.arange(1 - levels, 1, dtype=torch.float32)[:, None]
    for name, sign in (("log_gain", 1), ("log_inverse_gain", -1)):
        average = old[name].mean(1, keepdim=True) + sign * fade
        result[name] = torch.cat([old[name], average.expand(levels, new[name].shape[1] - M)], 1)
    return result


def alive(weights: dict[str, Tensor]) -> Tensor:
    """Which latents (M,) of a hyperprior have not become nothing."""
    lengths = weights["analysis.3.weight"].flatten(1).norm(dim=1)
    return lengths >= DEAD * lengths.max()


def without_dead(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a hyperprior without the latents that have become nothing."""
    kept = alive(weights)
    result = dict(weights)
    for name in ("analysis.3.weight", "analysis.3.bias", "synthesis.0.weight"):
        result[name] = weights[name][kept]
    for name in ("hyper_analysis.0.weight", "log_gain", "log_inverse_gain"):
        result[name] = weights[name][:, kept]
    for name in ("hyper_synthesis.2.weight", "hyper_synthesis.2.bias"):
        result[name] = weights[name][kept.repeat(2)]
    return result


def _padded(old: Tensor, new: Tensor) -> Tensor:
    """``old`` in the first places of zeros shaped like ``new``."""
    result = torch.zeros_like(new)
    result[tuple(slice(size) for size in old.shape)] = old
    return result

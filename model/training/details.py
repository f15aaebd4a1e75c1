"""How the details of a hyperprior begin: as the principal components of what it leaves without them.

A few hundred crops are coded, what is left of them is cut into blocks, and the directions in which these
vary most become the details (Karhunen-Loeve transform). Begun from random numbers they learn next to
nothing in the time that a CPU has; begun so they are worth 3 dB at once, before the quantiser.
"""

from math import log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network import LATENT, SCALE_LOW, Compass
from model.training.data import Pictures
from model.training.network import TrainedHyperprior, lagrange_multiplier
from model.training.stages import Recipe, loss

DEAD = 0.1
"""A latent whose kernel is shorter than this share of the longest has become nothing."""
HIGH = 0.6
"""Share of the gain levels below which pictures do not count: details are for high qualities."""
BATCHES = 64


def alive(weights: dict[str, Tensor]) -> Tensor:
    """Which latents (M,) of a hyperprior have not become nothing."""
    kinds = (weights[name] for name in ("analysis.3.weight", "detail_analysis") if name in weights)
    lengths = [kernel.flatten(1).norm(dim=1) for kernel in kinds]
    return torch.cat([length >= DEAD * length.max().clamp(min=1e-9) for length in lengths])


def continued(old: dict[str, Tensor], new: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a hyperprior without details for one like ``new``, which has some, or none either.

    Latents that have become nothing make room. The details are 0 as yet and cost nothing. Returns
    ``old`` if it does not fit.
    """
    if "detail_analysis" in old or "analysis.3.weight" not in old:
        return old
    kept = alive(old)
    if kept.sum() != len(new["analysis.3.weight"]):
        return old
    result = dict(old)
    for name in ("analysis.3.weight", "analysis.3.bias", "synthesis.0.weight"):
        result[name] = old[name][kept]
    for name in ("hyper_analysis.0.weight", "log_gain", "log_inverse_gain"):
        result[name] = _padded(old[name][:, kept], new[name])
    for name in ("hyper_synthesis.2.weight", "hyper_synthesis.2.bias"):  # scales of all latents, then means
        halves = zip(old[name].chunk(2), new[name].chunk(2), strict=True)
        result[name] = torch.cat([_padded(before[kept], after) for before, after in halves])
    result["hyper_synthesis.2.bias"].chunk(2)[0][int(kept.sum()) :] = log(SCALE_LOW)
    return result


def begun(hyperprior: nn.Module) -> bool:
    """Whether there is nothing to begin: the details are there, or there shall be none."""
    assert isinstance(hyperprior, TrainedHyperprior)
    return not hyperprior.has_details or bool(hyperprior.detail_synthesis.any())


def hold(hyperprior: nn.Module) -> None:
    """Leave details that have not begun as they are, 0, until :func:`begin`."""
    assert isinstance(hyperprior, TrainedHyperprior)
    hyperprior.detail_synthesis.requires_grad_(False)


@torch.no_grad()
def begin(network: Compass, part: str, recipe: Recipe, pictures: Pictures, seed: int) -> None:
    """Give the hyperprior ``part``, trained without them, its details."""
    hyperprior: Any = network.get_submodule(part)
    main, D = hyperprior.main, len(hyperprior.detail_analysis)
    levels = torch.arange(network.config.levels, device=hyperprior.log_gain.device)
    log_gain = detail_log_gain(lagrange_multiplier(network.config, levels))[:, None]
    hyperprior.log_gain[:, main:] = log_gain
    hyperprior.log_inverse_gain[:, main:] = -log_gain
    inputs = _inputs(network, hyperprior, recipe, pictures, seed)
    parts = [_left(hyperprior, x, level) for x, level in inputs]
    blocks, gains, scales = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    directions = torch.linalg.eigh(blocks.T @ blocks).eigenvectors.flip(1)[:, :D]
    hyperprior.detail_analysis.copy_(directions.T)
    hyperprior.detail_synthesis.copy_(directions)
    hyperprior.detail_synthesis.requires_grad_(True)
    # their scales: those of the others, on average, times what fits these pictures
    factors = (blocks @ directions * gains / scales).square().mean(0).sqrt()
    for tensor in (hyperprior.hyper_synthesis[2].weight.data, hyperprior.hyper_synthesis[2].bias.data):
        log_scale, mean = tensor.chunk(2)
        log_scale[main:] = log_scale[:main].mean(0, keepdim=True)
        mean[main:] = 0
    hyperprior.hyper_synthesis[2].bias.data.chunk(2)[0][main:] += torch.log(factors)
    hyperprior.hyper_analysis[0].weight[:, main:] = 0


def detail_log_gain(multiplier: Tensor) -> Tensor:
    """The logarithm of the gain of orthonormal details at Lagrange multipliers.

    At a fine step s a detail costs -log2 s bits and adds s^2 / 12 to the squared error of its block:
    rate + lambda 255^2 mse is least at s^2 = 18 / (ln 2 lambda 255^2).
    """
    return 0.5 * torch.log(multiplier * 255**2 * log(2) / 18)


def _inputs(
    network: Compass, hyperprior: nn.Module, recipe: Recipe, pictures: Pictures, seed: int
) -> list[tuple[Tensor, Tensor]]:
    """What ``hyperprior`` is given to code in the stage's loss, and at which levels: high ones only."""
    seen = []

    def note(_: object, inputs: tuple[Tensor, ...]) -> None:
        x, level = inputs[:2]
        high = level >= HIGH * (network.config.levels - 1)
        if high.any():
            seen.append((x[high], level[high]))

    generator = torch.Generator(pictures.buffer.device).manual_seed(seed)
    handle = hyperprior.register_forward_pre_hook(note)
    for _ in range(BATCHES):
        loss(network, recipe, pictures, generator)
    handle.remove()
    return seen


def _left(hyperprior: TrainedHyperprior, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each whole block of the pictures ``x`` (B, 3, h, w) at gain levels (B,): what is left of it
    without details (n, 768), the details' gain (n, 1) and the other latents' average scale (n, 1)."""
    gain, inverse = hyperprior.gains(level)
    y = hyperprior.analyse(x) * gain
    z = hyperprior.hyper_analyse(y)
    z = torch.round(z - hyperprior.medians()) + hyperprior.medians()
    log_scale, mean = hyperprior.hyper_synthesise(z, (y.shape[-2], y.shape[-1]))
    y = torch.round(y - mean) + mean
    left = x - hyperprior.synthesise_main(y * inverse, (x.shape[-2], x.shape[-1]))
    rows, columns = x.shape[-2] // LATENT, x.shape[-1] // LATENT
    blocks = F.pixel_unshuffle(left[..., : rows * LATENT, : columns * LATENT], LATENT)
    scales = log_scale[:, : hyperprior.main, :rows, :columns].mean(1, keepdim=True).exp()
    gains = gain[:, hyperprior.main :].mean(1, keepdim=True).expand_as(scales)
    blocks, gains, scales = (t.permute(0, 2, 3, 1).flatten(0, 2) for t in (blocks, gains, scales))
    return blocks, gains, scales


def _padded(old: Tensor, new: Tensor) -> Tensor:
    """``old`` in the first places of zeros shaped like ``new``."""
    result = torch.zeros_like(new)
    result[tuple(slice(size) for size in old.shape)] = old
    return result

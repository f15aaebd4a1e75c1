"""The stages of training and their losses (section 3.3 and supplement A).

base         the base layer's hyperprior
liff         LIFF alone, L1, from reconstructed base layers
residual     the enhancement hyperprior over a bicubic prediction, three layers
enhancement  the enhancement hyperprior over LIFF's prediction, LIFF frozen, three layers: twice as fast as
             joint, for most of the time of a network whose LIFF is good already
joint        LIFF and the enhancement hyperprior, three layers, base layer frozen
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

from model.geometry import Size
from model.network.compass import Compass
from model.network.liff import bicubic_whole
from model.network.rate import lagrange_multiplier
from model.training.data import Pictures, resize
from model.training.network import to_8_bit

WEIGHT = 2 / 3
"""The power of lambda by which the losses of samples are divided."""
STAGES = ("base", "liff", "residual", "enhancement", "joint")
ENHANCEMENT_STAGES = {"residual", "enhancement", "joint"}
"""The stages that train the enhancement layer's hyperprior."""


@dataclass(frozen=True)
class Recipe:
    """How one stage is trained: ``batch`` crops of ``side`` pixels at ``lr``; see ``compass train``.

    ``average``: the decay of the weights' moving average, 0 for none.
    """

    stage: str
    batch: int = 8
    side: int = 128
    lr: float = 2e-3
    layers: int = 3
    noisy: bool = False
    optimiser: str = "muon"
    average: float = 0.0


@dataclass(frozen=True)
class Batch:
    """What a step is trained on: crops (B, 3, side, side), values 0 to 1, at gain levels (B,).

    ``sizes`` are those of the layers that they are coded in, the smallest first, the last that of the crops.
    """

    x: Tensor
    level: Tensor
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Losses:
    """``total`` is minimised; ``bpp`` and ``mse`` (of values 0 to 1) are averages to report.

    All are scalars on the device, so that no step waits for its numbers; the averages have no gradient.
    """

    total: Tensor
    bpp: Tensor
    mse: Tensor


def trained_modules(network: Compass, stage: str) -> list[nn.Module]:
    """The parts of the network that a stage changes."""
    parts: dict[str, list[nn.Module]] = {
        "base": [network.base],
        "liff": [network.liff],
        "residual": [network.enhancement],
        "enhancement": [network.enhancement],
        "joint": [network.liff, network.enhancement],
    }
    return parts[stage]


def rate_distortion(network: Compass, level: Tensor, bits: Tensor, x: Tensor, target: Tensor) -> Losses:
    """Eq. 5 for one layer: bits per pixel + lambda 255^2 mse, averaged over the batch.

    Each sample is weighted by lambda^-2/3, so that the high rates, whose losses are larger, do
    not drown the low ones.
    """
    bpp = bits / (x.shape[-2] * x.shape[-1])
    mse = (x - target).square().mean((1, 2, 3))
    multiplier = lagrange_multiplier(network.config, level)
    loss = (bpp + multiplier * 255**2 * mse) * (network.config.lambda_low / multiplier) ** WEIGHT
    return Losses(loss.mean(), bpp.detach().mean(), mse.detach().mean())


def base_loss(network: Compass, recipe: Recipe, batch: Batch) -> Losses:
    """The base layer's rate and distortion."""
    reconstruction, bits = network.base(batch.x, batch.level, recipe.noisy)
    return rate_distortion(network, batch.level, bits, reconstruction, batch.x)


def liff_loss(network: Compass, recipe: Recipe, batch: Batch) -> Losses:
    """L1 between LIFF's prediction, from a coded smaller picture, and the picture."""
    x, (small, whole) = batch.x, batch.sizes
    with torch.no_grad():
        below = to_8_bit(network.base(resize(x, small), batch.level)[0])
    difference = network.liff(below, whole) - x
    squares = difference.detach().square()
    return Losses(difference.abs().mean(), squares.new_zeros(()), squares.mean())


def layers_loss(network: Compass, recipe: Recipe, batch: Batch) -> Losses:
    """The combined loss over all enhancement layers, each predicted from the one coded below."""
    x, level, sizes = batch.x, batch.level, batch.sizes
    with torch.no_grad():
        below = to_8_bit(network.base(resize(x, sizes[0]), level)[0])
    parts = []
    for size in sizes[1:]:
        target = resize(x, size)
        prediction = predicted(network, recipe.stage, below, size)
        residual, bits = network.enhancement(target - prediction, level, recipe.noisy, prediction)
        below = to_8_bit(prediction + residual)
        parts.append(rate_distortion(network, level, bits, prediction + residual, target))
    return Losses(
        torch.stack([p.total for p in parts]).sum(),
        torch.stack([p.bpp for p in parts]).mean(),
        torch.stack([p.mse for p in parts]).mean(),
    )


def predicted(network: Compass, stage: str, below: Tensor, size: Size) -> Tensor:
    """The prediction of a layer as a stage has it: with gradients only where it trains LIFF."""
    if stage == "residual":
        return bicubic_whole(below, size)
    with torch.set_grad_enabled(stage == "joint" and torch.is_grad_enabled()):
        return network.liff(below, size)


def loss(network: Compass, recipe: Recipe, batch: Batch) -> Losses:
    """The loss of the recipe's stage on one batch, computed without waiting for the device."""
    stage_loss = {"base": base_loss, "liff": liff_loss, **dict.fromkeys(ENHANCEMENT_STAGES, layers_loss)}
    return stage_loss[recipe.stage](network, recipe, batch)


def sizes_below(recipe: Recipe) -> int:
    """How many smaller layers a batch of a stage is coded in."""
    return {"base": 0, "liff": 1}.get(recipe.stage, recipe.layers - 1)


def sizes_of(recipe: Recipe, places: Iterable[float]) -> tuple[Size, ...]:
    """The sizes of a batch's layers, the smallest first.

    ``places``, 0 to 1, say for each smaller layer, the larger ones first, where its factor to the one above
    lies in the trained range.
    """
    low, high = (0.25, 0.9) if recipe.stage == "liff" else (0.36, 0.85)
    factors = [1.0]
    for place in places:
        factors.append(factors[-1] * (low + (high - low) * place))
    return tuple(shrunk(recipe.side, factor) for factor in reversed(factors))


def spread_sizes(recipe: Recipe, count: int, seed: int) -> list[tuple[Size, ...]]:
    """``count`` tuples of layers' sizes that cover the trained range evenly, its ends as well."""
    below = sizes_below(recipe)
    if not below:
        return [sizes_of(recipe, ())]
    even = SobolEngine(below, scramble=True, seed=seed).draw(count)
    return [sizes_of(recipe, places) for places in even.tolist()]


def draw(
    network: Compass,
    recipe: Recipe,
    pictures: Pictures,
    generator: torch.Generator,
    sizes: tuple[Size, ...] | None = None,
) -> Batch:
    """A random batch, of layers of random or given ``sizes``. ``generator`` is one of the CPU.

    The crops were shrunk by 0.5 to 1 and have their channels last. Their levels are uniform over the whole
    range, its ends a little more often.
    """
    if sizes is None:
        sizes = sizes_of(recipe, (uniform(0, 1, generator) for _ in range(sizes_below(recipe))))
    crops = pictures.crops(recipe.batch, recipe.side, uniform(0.5, 1.0, generator), generator)
    top = network.config.levels - 1
    level = (torch.rand(len(crops), generator=generator) * (top + 0.4) - 0.2).clamp(0, top)
    return Batch(crops.to(memory_format=torch.channels_last), level.to(crops.device), sizes)


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """One number between ``low`` and ``high``; ``generator`` is one of the CPU."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def shrunk(side: int, factor: float) -> Size:
    """A square size, at least 16 pixels."""
    edge = max(16, round(side * factor))
    return Size(edge, edge)

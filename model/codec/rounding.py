"""Rounding that weighs bits and error: a latent near the middle of two integers goes to the better of them.

The nearer integer is the better one for a latent alone, but not for the picture: bits differ, and so does
what the synthesis makes of it beside the errors of all others. Near the middle both integers are about as
near, and the choice is free. Such latents are put into the middle, all others to their integers, and one pass
forwards and backwards through the synthesis gives the gradient of the squared error there. A quadratic
function changes over one step by exactly its gradient in the middle: so gradient and bits say which integer
costs less.

One pass decides all of them, each as if the others stayed in the middle. A decoder notices nothing.
"""

import torch
from torch import Tensor

from model.codec.distortion import Part, Target
from model.codec.latents import RoundedLatents
from model.geometry import Box, fine, grow, halved
from model.network.transforms import LATENT

UNDECIDED = 0.42
"""How far from its integer a latent is at least whose rounding is weighed; 0.5 is the middle."""
WEIGHT = 1.5
"""What the error counts relative to lambda: then quality stays about as it is, and bytes fall."""
_MOST = 0.501
_SEEN = 1
"""How many latents around a box its pixels reach whose errors count: nearly all that its latents change."""


def moves(target: Target, latents: Tensor, rounded: RoundedLatents, lengths: Tensor, box: Box) -> Tensor:
    """By how much, -1, 0 or 1, the symbols of a ``box`` of latents are to change: int8 (M, *box.size).

    ``latents`` (1, M, h, w) are those of the whole layer before they were ``rounded``. ``lengths``
    (tables, 2 n + 1) are the bits that each integer from -n to n takes.
    """
    size, grid = target.size, halved(target.size, 4)
    with torch.inference_mode(False), torch.enable_grad():
        part = Part(target, fine(grow(box, _SEEN, grid), LATENT, size))
        values = rounded.values[..., *part.seen.slices].clone()
        offset = latents[..., *part.seen.slices] - values
        reach = lengths.shape[1] // 2
        symbols = rounded.symbols[:, *part.seen.slices]
        undecided = (offset.abs() > UNDECIDED) & (offset.abs() < _MOST)
        undecided &= (rounded.coded(part.seen) & (symbols.abs() < reach))[None]
        step = torch.sign(offset).mul_(undecided)
        middle = values.add_(step, alpha=0.5).requires_grad_()
        part.squares(middle).backward()
        assert middle.grad is not None
        inner = box.inside(part.seen)
        error = (step * middle.grad)[0, :, *inner]
    steps = step[0, :, *inner]
    chosen = steps != 0
    table, own = rounded.index[:, *box.slices][chosen].long(), symbols[:, *inner][chosen].long() + reach
    bits = lengths[table, own + steps[chosen].long()] - lengths[table, own]
    moved = torch.zeros_like(steps, dtype=torch.int8)
    better = bits + WEIGHT * target.multiplier * error[chosen] < 0
    moved[chosen] = torch.where(better, steps[chosen], 0).to(torch.int8)
    return moved

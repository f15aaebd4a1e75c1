"""Latents searched for instead of rounded: fewer bytes and a smaller error, for minutes of a core.

An encoder may choose any latents; the decoder does not change. Stochastic Gumbel annealing (Yang, Bamler
and Mandt 2020): each latent is a mixture of the two integers around a real number. Which of them it is gets
drawn from a distribution that the number's place between them and a temperature give; the numbers follow
the gradient of rate + lambda 255^2 mse, and the temperature falls. The rate is what the entropy coder's own
tables take; that of a mixture is the mixture of its two integers'.

Truly rounded latents are judged every few steps. Of those whose error is allowed, the ones with the least
rate + lambda 255^2 mse are kept, the start included. What the search follows is a lambda that rises while the
error is above what is allowed, and falls back to the quality's own. So no layer gets worse by more than
0.05 dB.

The hyper-latents stay, so the priors are fixed. A layer is refined window by window, so that memory is
bounded; each window's loss has all pixels that depend on its latents, and sees its neighbours as they are
by then.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model.codec.distortion import Part, Target
from model.codec.latents import RoundedLatents
from model.geometry import Box, divide, fine, halved, whole
from model.network.transforms import LATENT

WINDOW = 64
"""Edge in latents of what is refined at a time: 1024 pixels."""
MOST_ERROR = 10**0.005
"""What a layer's error may be, relative to that in a stream of rounded latents: 0.05 dB."""
JUDGED_EVERY = 10
_HOTTEST, _COLDEST = 0.5, 0.3
"""Temperatures; colder ones end the search too early."""
_STRICTNESS = 2.0
"""How lambda follows the error: its power of the error's ratio to that of the start."""
_RATE = 0.04
_LAST_QUARTER = 0.33
"""Share of the learning rate in the last quarter of the steps."""
_MARGIN = MOST_ERROR**0.5
"""How far a window stays below the error that is allowed: 8 bits, and its neighbours, add to it."""
_TINY = 1e-6
_EDGE = 1e-4
"""How near to an integer a place between two of them may come."""


@dataclass(frozen=True)
class Effort:
    """How much an encoder searches: ``steps`` for each window, and at most about ``seconds`` for a picture.

    The same ``seed`` gives the same stream on the same machine, unless time runs out.
    """

    steps: int = 0
    seconds: float = math.inf
    seed: int = 0


NO_EFFORT = Effort()
EFFORTS = {"none": 0, "fast": 100, "best": 300}
"""Steps by the name of an effort."""


@dataclass(frozen=True)
class Search:
    """What is spent on one layer: ``steps`` for each window, until ``end`` by ``time.monotonic()``.

    The squared error of the layer's 8-bit pixels is to be at most ``most_error``. ``told`` is called with the
    share of the steps that is over, 0 to 1.
    """

    steps: int
    seed: int
    end: float
    most_error: float
    told: Callable[[float], None]


def refine(
    target: Target, latents: Tensor, start: RoundedLatents, lengths: Tensor, search: Search, error: float
) -> RoundedLatents:
    """Other integers for the ``latents`` (1, M, h, w) of the analysis, searched for from ``start`` on.

    ``lengths`` (tables, 2 n + 1) are the bits that each integer from -n to n takes; ``error`` is the squared
    error of the layer's 8-bit pixels with ``start``.
    """
    windows = list(divide(whole(halved(target.size, 4)), WINDOW))
    allowed = search.most_error / max(error, 1) / _MARGIN
    with torch.inference_mode(False), torch.enable_grad():
        found = start.copy()
        generator = torch.Generator(lengths.device).manual_seed(search.seed)
        for number, box in enumerate(windows):

            def step_told(share: float, before: int = number) -> bool:
                search.told((before + share) / len(windows))
                return time.monotonic() < search.end

            window = _Window(target, latents, found, lengths, box)
            best = window.best(search.steps, allowed, generator, step_told)
            found.move(best[0].to(torch.int16) - found.symbols[:, *box.slices], box)
        return found


class _Window:
    """The latents of one window, and what they are judged by."""

    def __init__(
        self, target: Target, latents: Tensor, rounded: RoundedLatents, lengths: Tensor, window: Box
    ):
        size, transforms = target.size, target.transforms
        reach = transforms.latents_for_pixels(fine(window, LATENT, size), size)
        self._part = Part(target, fine(reach, LATENT, size))  # at least all pixels that depend on the window
        seen = self._part.seen
        self._multiplier, self._inner = target.multiplier, window.inside(seen)
        self._around = rounded.symbols[None, :, *seen.slices].float()
        self._mean = rounded.values[..., *seen.slices] - self._around
        self._coded = rounded.coded(window).flatten().nonzero()[:, 0]  # places in the window, (n,)
        self._lengths = lengths.flatten()
        self._reach = lengths.shape[1] // 2
        tables = self._of_coded(rounded.index[:, *window.slices].long())
        self._zeros = tables * lengths.shape[1] + self._reach
        self._start = self._of_coded(latents[..., *window.slices] - self._mean[..., *self._inner])

    def best(
        self, steps: int, allowed: float, generator: torch.Generator, goes_on: Callable[[float], bool]
    ) -> Tensor:
        """The integers (1, M, h, w) of least cost, seen in the search, whose error is at most ``allowed``
        times that of the rounded ones; these if there are none.

        Searched for are those that are coded, (n,); the others stay 0.

        ``goes_on`` is called after each step with the share that is over, and says whether there is time.
        """
        place = self._start.clone().requires_grad_()
        optimiser = torch.optim.Adam([place], _RATE)
        best = self._of_coded(self._around[..., *self._inner])
        own = multiplier = self._multiplier
        bits, error = self._judged(best)
        allowed *= error
        least = bits + own * error if error <= allowed else math.inf
        for step in range(1, steps + 1):
            optimiser.param_groups[0]["lr"] = _RATE * (_LAST_QUARTER if step > 0.75 * steps else 1)
            optimiser.zero_grad()
            temperature = _HOTTEST * (_COLDEST / _HOTTEST) ** (step / steps)
            rate, squares = self._cost(self._mixed(place, temperature, generator))
            (rate + multiplier * squares).backward()
            optimiser.step()
            last = not goes_on(step / steps) or step == steps
            if last or step % JUDGED_EVERY == 0:
                integers = torch.round(place.detach())
                bits, error = self._judged(integers)
                cost = bits + own * error
                if cost < least and error <= allowed:
                    best, least = integers, cost
                change = min(max((error / max(allowed, _TINY)) ** _STRICTNESS, 0.7), 1.4)
                multiplier = max(own, multiplier * change)
            if last:
                break
        return self._whole(best)

    def _of_coded(self, values: Tensor) -> Tensor:
        """Those of a window's values, M of each latent, that belong to coded ones, (n,)."""
        return values.flatten()[self._coded]

    def _whole(self, values: Tensor) -> Tensor:
        """The window's values (1, M, h, w), 0 where latents are not coded."""
        shape = self._around[..., *self._inner].shape
        return values.new_zeros(shape.numel()).index_copy(0, self._coded, values).view(shape)

    @torch.no_grad()
    def _judged(self, integers: Tensor) -> tuple[float, float]:
        bits, error = self._cost(integers)
        return float(bits), float(error)

    def _mixed(self, place: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
        """Mixtures (n,) of the integers around each place; drawn, and differentiable."""
        below = place.detach().floor()
        part = (place - below).clamp(_EDGE, 1 - _EDGE)
        logits = (torch.atanh(part) - torch.atanh(1 - part)) / temperature
        uniform = torch.rand(place.shape, generator=generator, device=place.device).clamp(1e-6, 1 - 1e-6)
        drawn = torch.sigmoid((logits + torch.logit(uniform)) / temperature)
        return below + drawn

    def _bits(self, integers: Tensor) -> Tensor:
        """Bits (n,) of integers, and, of a mixture of two, the mixture of theirs."""
        below = integers.detach().floor().clamp(-self._reach, self._reach - 1)
        at = self._zeros + below.long()
        return torch.lerp(self._lengths[at], self._lengths[at + 1], integers - below)

    def _cost(self, integers: Tensor) -> tuple[Tensor, Tensor]:
        """Bits of the window; 255^2 times the squared error of all pixels that it changes, a pixel's mean."""
        bits = self._bits(integers).sum()
        around = self._around.clone()
        around[..., *self._inner] = self._whole(integers)
        return bits, self._part.squares(around + self._mean)

"""An exponential moving average of the weights: often better than the last ones, at no cost in speed."""

from collections.abc import Mapping

import torch
from torch import Tensor

_HEAD_START = 10
"""The decay grows as (1 + n) / (this + n), so that the first, bad weights are soon forgotten."""


class Average:
    """The moving average of some parameters, by name.

    ``decay`` 0 to 1 is what a step keeps of the average before it; 0 follows the weights exactly.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of an average is 0 to below 1, not {decay}")
        self._parameters = dict(parameters)
        self._decay = decay
        self.values = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number ``step``, counted from 1."""
        decay = min(self._decay, (1 + step) / (_HEAD_START + step))
        weights = list(self._parameters.values())
        torch._foreach_lerp_(list(self.values.values()), weights, 1 - decay)

    @torch.no_grad()
    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Go on from an average that was saved."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @torch.no_grad()
    def apply(self) -> None:
        """Put the average in the place of the weights."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self.values[name])

"""The optimisers of one stage: for the network's weights, and for the quantiles of its hyper-latents."""

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from model.network.compass import Compass
from model.training.muon import Muon
from model.training.network import TrainedHyperprior
from model.training.stages import Recipe, trained_modules

OPTIMISERS = ("adam", "muon")
"""What a recipe can choose: Adam for all weights, or Muon for matrices and Adam for all others."""
CLIP = 1.0
"""Gradients of a larger norm are scaled down to this one."""
BETAS_BESIDE_MUON = (0.9, 0.99)
"""Adam's decays for the weights that Muon does not take."""
BESIDE_MUON_SHARE = 0.5
"""Adam's learning rate beside Muon, relative to Muon's."""
QUANTILES_RATE = 1e-3
QUANTILES_EVERY = 4


class Optimisers:
    """Trains the parts of a network that a recipe's stage changes; freezes all others.

    ``trained`` are the parameters by name, ``all`` the optimisers, whose state a checkpoint keeps.
    """

    def __init__(self, network: Compass, recipe: Recipe):
        network.requires_grad_(False)
        for module in trained_modules(network, recipe.stage):
            module.requires_grad_(True)
        self._rate = recipe.lr
        self._hyperprior = network.base if recipe.stage == "base" else network.enhancement
        self.trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self._quantiles = [p for name, p in self.trained.items() if name.endswith("quantiles")]
        self._weights = [p for name, p in self.trained.items() if not name.endswith("quantiles")]
        self._shares = _of_weights(self._weights, recipe)
        self.all: list[Optimizer] = [optimiser for optimiser, _ in self._shares]
        self._of_quantiles: Optimizer | None = None
        if self._quantiles:
            self._of_quantiles = _adam(self._quantiles, QUANTILES_RATE)
            self.all.append(self._of_quantiles)

    def set_rate(self, factor: float) -> None:
        """Use the recipe's learning rate times ``factor`` for the weights."""
        for optimiser, share in self._shares:
            for group in optimiser.param_groups:
                rate = self._rate * factor * share
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def step(self, total: Tensor) -> None:
        """Change the weights along the gradients of a loss; not at all if these are not finite.

        On a GPU, which would have to be waited for, gradients that are not finite count as zero.
        """
        for optimiser, _ in self._shares:
            optimiser.zero_grad()
        total.backward()
        finite = torch.isfinite(nn.utils.clip_grad_norm_(self._weights, CLIP))
        if finite.is_cuda:
            for p in self._weights:
                if p.grad is not None:
                    p.grad.masked_fill_(~finite, 0.0)
        elif not finite:
            return
        for optimiser, _ in self._shares:
            optimiser.step()

    def step_quantiles(self, step: int) -> None:
        """Move the quantiles of the hyper-latents, after every fourth ``step``, if the stage has any."""
        if self._of_quantiles is None or step % QUANTILES_EVERY:
            return
        assert isinstance(self._hyperprior, TrainedHyperprior)
        self._of_quantiles.zero_grad()
        auxiliary: Tensor = self._hyperprior.bottleneck.loss()
        auxiliary.backward()
        self._of_quantiles.step()


def _of_weights(weights: list[nn.Parameter], recipe: Recipe) -> list[tuple[Optimizer, float]]:
    """The optimisers of the weights, each with its share of the learning rate."""
    if recipe.optimiser == "adam":
        return [(_adam(weights, recipe.lr), 1.0)]
    matrices = [p for p in weights if Muon.takes(p)]
    others = [p for p in weights if not Muon.takes(p)]
    optimisers: list[tuple[Optimizer, float]] = []
    if matrices:
        optimisers.append((Muon(matrices, _rate(matrices, recipe.lr)), 1.0))
    if others:
        optimisers.append((_adam(others, recipe.lr, BETAS_BESIDE_MUON), BESIDE_MUON_SHARE))
    return optimisers


def _adam(weights: list[nn.Parameter], rate: float, betas: tuple[float, float] = (0.9, 0.999)) -> Adam:
    """Adam, on a GPU with all of its state there, so that its steps can be recorded."""
    return Adam(weights, _rate(weights, rate), betas, capturable=weights[0].is_cuda)


def _rate(weights: list[nn.Parameter], rate: float) -> float | Tensor:
    """A learning rate, on a GPU as a number there: a recorded step reads it anew each time."""
    return torch.tensor(rate, device=weights[0].device) if weights[0].is_cuda else rate

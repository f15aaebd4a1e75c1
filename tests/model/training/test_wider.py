"""A wider network begins where a narrower one ended."""

from dataclasses import replace

import pytest
import torch

from model.geometry import Size
from model.network.transforms import analyse_whole, synthesise_whole
from model.training.checkpoint import take_over
from model.training.network import initialise
from model.training.optimisers import Optimisers
from model.training.stages import Recipe
from model.training.wider import widened
from tests.model.tiny import TINY, TINY_PATCHES, lively_network

WIDER = {
    "analysis_channels": 12,
    "synthesis_channels": 10,
    "hyper_channels": 12,
    "enhancement_synthesis_channels": 14,
}


@torch.no_grad()
@pytest.mark.parametrize("more", [*({name: value} for name, value in WIDER.items()), WIDER], ids=str)
def test_it_computes_the_same(more):
    narrow = lively_network(TINY_PATCHES)
    wide = initialise(replace(TINY_PATCHES, **more), 3)
    take_over(wide, narrow.state_dict())
    x = torch.rand(1, 3, 48, 64)
    for part in ("base", "enhancement"):
        prediction = torch.rand(1, 3, 48, 64) if part == "enhancement" else None
        found = []
        for network in (narrow, wide):
            hyperprior = getattr(network, part)
            y = analyse_whole(hyperprior.transforms, x, prediction)
            picture = synthesise_whole(hyperprior.transforms, y, Size(48, 64), prediction)
            z = hyperprior.hyper_analyse(y)
            found.append((y, picture, *hyperprior.hyper_synthesise(z, Size(*y.shape[-2:]))))
        for one, other in zip(*found, strict=True):
            assert torch.allclose(one, other, atol=1e-4 * float(one.abs().max()))


def test_what_is_new_learns():
    """Every further weight gets a gradient, at once or after the zeros beside it have moved."""
    wide = initialise(replace(TINY_PATCHES, **WIDER), 3)
    take_over(wide, lively_network(TINY_PATCHES).state_dict())
    before = {name: p.detach().clone() for name, p in wide.base.named_parameters()}
    optimisers = Optimisers(wide, Recipe("base", optimiser="adam"))
    optimisers.set_rate(1.0)
    for _ in range(3):
        reconstruction, bits = wide.base(torch.rand(2, 3, 64, 64), torch.tensor([0.5, 1.5]))
        optimisers.step(reconstruction.square().mean() + bits.mean() / 4096)
    for name, p in wide.base.named_parameters():
        if "weight" in name and "transforms" in name:
            assert (p != before[name]).flatten(1).any(1).all(), name


OTHERS = [TINY, replace(TINY_PATCHES, latents=12), replace(TINY_PATCHES, channels=7)]


@pytest.mark.parametrize("config", OTHERS, ids=["the paper's form", "latents", "hyper-latents"])
def test_other_networks_take_nothing_more(config):
    assert widened(initialise(config), lively_network(TINY_PATCHES).state_dict()) == {}


def test_a_narrower_network_takes_nothing():
    wide = initialise(replace(TINY_PATCHES, **WIDER))
    assert widened(initialise(TINY_PATCHES), wide.state_dict()) == {}

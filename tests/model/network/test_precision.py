"""bfloat16 changes pixels by one at most, and no latent."""

import numpy as np
import pytest
import torch

from model.codec.codec import Codec
from model.codec.weights import load
from model.geometry import Size
from model.installed import path_of_profile
from model.network.precision import narrow_parts
from model.training.export import export
from model.training.screens import screens
from tests.model.tiny import TINY_PATCHES, lively_network, picture

SIZES = [Size(50, 75), Size(100, 150), Size(200, 300)]


@pytest.fixture(scope="module")
def codecs():
    """The released weights in float32 and in bfloat16."""
    weights = load(path_of_profile("lite"))
    return Codec(weights, dtype=torch.float32), Codec(weights, dtype=torch.bfloat16)


def pictures():
    """A synthetic photograph and two of screen content, whose edges are the hardest there are."""
    drawn = [screens(1, seed=seed)[0].numpy()[:200, :300] for seed in (3, 5)]
    return [picture(300, 200), *map(np.ascontiguousarray, drawn)]


@pytest.mark.parametrize("quality", [1, 50, 100])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_pixels_differ_by_one_given_the_same_layer_below(codecs, quality, number):
    exact, fast = codecs
    stream = exact.encode(pictures()[number], SIZES, quality)
    differing = 0.0
    for k in range(3):
        start = (k - 1, exact.decode(stream, k - 1)) if k else None
        a, b = exact.decode(stream, k, start=start), fast.decode(stream, k, start=start)
        assert np.abs(a.astype(int) - b).max() <= 1
        differing = max(differing, float((a != b).mean()))
    assert 0 < differing < 0.2


def test_a_weight_file_holds_what_both_compute_with(tmp_path):
    network = lively_network(TINY_PATCHES)
    begun = network.base.transforms.a_in.weight
    assert not begun.equal(begun.bfloat16().float())
    export(network, tmp_path / "x.safetensors")
    for part in narrow_parts(load(tmp_path / "x.safetensors").network):
        for weight in part.parameters():
            assert weight.dtype == torch.float32
            assert weight.equal(weight.bfloat16().float())


def test_streams_of_one_decode_to_the_same_latents_with_the_other(codecs):
    exact, fast = codecs
    stream = fast.encode(pictures()[0], SIZES, 60)
    for k in range(3):
        assert torch.equal(exact.latents(stream, k), fast.latents(stream, k))


def test_weights_are_not_changed():
    weights = load(path_of_profile("lite"))
    fast = Codec(weights, dtype=torch.bfloat16)
    assert {p.dtype for p in fast.layers.network.parameters()} == {torch.float32, torch.bfloat16}
    assert {p.dtype for p in weights.network.parameters()} == {torch.float32}

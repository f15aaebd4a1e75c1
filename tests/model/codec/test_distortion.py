"""The error that an encoder differentiates is that of the decoder's pixels."""

import pytest
import torch

from model.clock import StageClock
from model.codec.distortion import Part
from model.codec.layers import Original
from model.codec.pixels import squared_error
from model.geometry import Box, Size, whole
from tests.model.tiny import picture

SIZE = Size(70, 100)


@pytest.fixture
def coded(tiny_codec):
    """An enhancement layer as it is coded, and its pixels."""
    layers = tiny_codec.layers
    original = Original(1, picture(100, 70), 60, layers.predict(picture(50, 35), SIZE))
    layer, _ = layers.code(original, StageClock())
    return original, layer, layers.decoded(original, layer, StageClock())


def test_squares_are_those_of_the_pixels(tiny_codec, coded):
    """Those are clipped to 0 to 255, and nearer therefore, and rounded."""
    original, layer, pixels = coded
    found = Part(tiny_codec.layers._target(original), whole(SIZE)).squares(layer.latents)
    assert 0.9 * float(found) < squared_error(pixels, original.pixels) / 3 < 1.01 * float(found)


def test_parts_sum_to_the_whole(tiny_codec, coded):
    original, layer, _ = coded
    target = tiny_codec.layers._target(original)
    boxes = [Box(0, 0, 30, 100), Box(30, 0, 70, 41), Box(30, 41, 70, 100)]
    parts = [Part(target, box) for box in boxes]
    total = sum(float(part.squares(layer.latents[..., *part.seen.slices])) for part in parts)
    assert total == pytest.approx(float(Part(target, whole(SIZE)).squares(layer.latents)), rel=1e-4)


def test_gradients_reach_the_latents_and_nothing_else(tiny_codec, coded):
    original, layer, _ = coded
    part = Part(tiny_codec.layers._target(original), whole(SIZE))
    y = layer.latents.clone().requires_grad_()
    with torch.enable_grad():
        part.squares(y).backward()
    assert y.grad.abs().sum() > 0
    assert all(p.grad is None for p in tiny_codec.layers.network.parameters())

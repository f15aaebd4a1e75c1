"""A box of the picture transformed alone is what the whole picture gives there."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.geometry import Box, halved, whole
from model.network import bicubic
from model.transforms import (
    analyse,
    last_up,
    latents_for_pixels,
    pixels_for_latents,
    pixels_for_prediction,
    predict,
    synthesise,
)
from model.transforms import bicubic as bicubic_box
from tests.model.tiny import TINY, lively_network

NETWORK = lively_network().eval().requires_grad_(False)
HYPERPRIOR, LIFF = NETWORK.enhancement, NETWORK.liff
EDGES = st.one_of(st.sampled_from([1, 2, 3, 16, 17, 61, 97, 127]), st.integers(1, 150))
SIZES = st.tuples(EDGES, EDGES)


def box_in(data, size):
    top, left = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    bottom, right = data.draw(st.integers(top + 1, size[0])), data.draw(st.integers(left + 1, size[1]))
    return Box(top, left, bottom, right)


def random_tensor(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def cut(x, box, outer=None):
    rows, columns = box.inside(outer or whole((x.shape[-2], x.shape[-1])))
    return x[..., rows, columns]


def assert_near(a, b):
    assert a.shape == b.shape
    assert (a - b).abs().max() <= 2e-5 * max(1.0, float(b.abs().max()))


@given(st.data(), SIZES)
@settings(deadline=None, max_examples=60)
def test_analysis(data, size):
    x = random_tensor(1, 3, *size)
    box = box_in(data, halved(size, 4))
    window = pixels_for_latents(box, size)
    assert_near(analyse(HYPERPRIOR, cut(x, window), window, box, size), cut(HYPERPRIOR.analyse(x), box))


@given(st.data(), SIZES)
@settings(deadline=None, max_examples=60)
def test_synthesis(data, size):
    y = random_tensor(1, TINY.latents, *halved(size, 4)) * 6 - 3
    box = box_in(data, size)
    window = latents_for_pixels(box, size)
    assert_near(
        synthesise(HYPERPRIOR, cut(y, window), window, box, size), cut(HYPERPRIOR.synthesise(y, size), box)
    )


@given(st.data(), SIZES, st.floats(1, 4))
@settings(deadline=None, max_examples=60)
def test_prediction(data, small, factor):
    large = round(small[0] * factor), round(small[1] * factor)
    x = random_tensor(1, 3, *small)
    box = box_in(data, large)
    window = pixels_for_prediction(LIFF, box, small, large)
    assert_near(predict(LIFF, cut(x, window), window, box, small, large), cut(LIFF(x, large), box))


def test_a_larger_window_changes_nothing():
    size, box = (97, 61), Box(30, 20, 33, 60)
    y = random_tensor(1, TINY.latents, *halved(size, 4))
    window = latents_for_pixels(box, size)
    assert window != whole(halved(size, 4))
    alone = synthesise(HYPERPRIOR, cut(y, window), window, box, size)
    assert_near(alone, synthesise(HYPERPRIOR, y, whole(halved(size, 4)), box, size))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 8)])
def test_last_layer_as_a_pixel_shuffle(size):
    x = random_tensor(1, TINY.channels, *size)
    conv = HYPERPRIOR.synthesis[3]
    assert_near(last_up(conv, x), conv(x))


@pytest.mark.parametrize(("small", "large"), [((1, 1), (4, 9)), ((7, 5), (7, 20)), ((31, 40), (97, 61))])
def test_bicubic_is_torchs(small, large):
    x = random_tensor(1, 3, *small)
    assert_near(bicubic_box(x, whole(small), whole(large), small, large), bicubic(x, large))

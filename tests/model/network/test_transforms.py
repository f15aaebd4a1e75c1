"""A box of the picture transformed alone is what the whole picture gives there."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.geometry import Box, Size, halved, whole
from model.network.transforms import analyse_whole, last_up, plus_product, synthesise_whole
from model.training.network import initialise
from tests.model.tiny import TINY, TINY_PATCHES, lively_network

CONVOLUTIONS = lively_network().eval().requires_grad_(False).enhancement.transforms
PATCHES = lively_network(TINY_PATCHES).eval().requires_grad_(False).enhancement.transforms
FORMS = pytest.mark.parametrize("transforms", [CONVOLUTIONS, PATCHES], ids=["convolutions", "patches"])
EDGES = st.one_of(st.sampled_from([1, 2, 3, 16, 17, 61, 97, 127]), st.integers(1, 150))
SIZES = st.builds(Size, EDGES, EDGES)


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


@FORMS
@given(st.data(), SIZES)
@settings(deadline=None, max_examples=60)
def test_analysis(transforms, data, size):
    x, p = random_tensor(1, 3, *size), random_tensor(1, 3, *size).flip(3)
    box = box_in(data, halved(size, 4))
    window = transforms.pixels_for_latents(box, size)
    alone = transforms.analyse(cut(x, window), window, box, size, cut(p, window))
    assert_near(alone, cut(analyse_whole(transforms, x, p), box))


@FORMS
@given(st.data(), SIZES)
@settings(deadline=None, max_examples=60)
def test_synthesis(transforms, data, size):
    y, p = random_tensor(1, TINY.latents, *halved(size, 4)) * 6 - 3, random_tensor(1, 3, *size)
    box = box_in(data, size)
    window, seen = transforms.latents_for_pixels(box, size), transforms.prediction_for_pixels(box, size)
    alone = transforms.synthesise(cut(y, window), window, box, size, cut(p, seen))
    assert_near(alone, cut(synthesise_whole(transforms, y, size, p), box))


@FORMS
def test_a_larger_window_changes_nothing(transforms):
    size, box = Size(97, 161), Box(30, 20, 33, 60)
    y, p = random_tensor(1, TINY.latents, *halved(size, 4)), random_tensor(1, 3, *size)
    window, seen = transforms.latents_for_pixels(box, size), transforms.prediction_for_pixels(box, size)
    assert window != whole(halved(size, 4))
    alone = transforms.synthesise(cut(y, window), window, box, size, cut(p, seen))
    assert_near(alone, transforms.synthesise(y, whole(halved(size, 4)), box, size, cut(p, seen)))


def test_only_patches_see_the_prediction():
    size = Size(40, 50)
    x, p = random_tensor(1, 3, *size), random_tensor(1, 3, *size).flip(3)
    for transforms, sees in ((CONVOLUTIONS, False), (PATCHES, True)):
        y = analyse_whole(transforms, x, p)
        assert torch.equal(y, analyse_whole(transforms, x, p + 0.1)) != sees
        assert (
            torch.equal(synthesise_whole(transforms, y, size, p), synthesise_whole(transforms, y, size))
            != sees
        )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_sum_and_a_product_in_one(layout):
    """Whatever the layout: a pixel shuffle keeps channels last on a CPU, and does not on a GPU."""
    base, x, matrix = torch.randn(2, 6, 4, 5), torch.randn(2, 3, 4, 5), torch.randn(6, 3)
    expected = base + torch.einsum("oc,bchw->bohw", matrix, x)
    found = plus_product(base.contiguous(memory_format=layout), x, matrix)
    assert (found - expected).abs().max() < 1e-5


def test_new_patches_are_their_linear_parts():
    """f and g begin as zero; the base layer's patches are relative to a grey."""
    network = initialise(TINY_PATCHES)
    x, y = random_tensor(1, 3, 32, 48), random_tensor(1, TINY.latents, 2, 3)
    for hyperprior, grey, p in ((network.base, 0.45, None), (network.enhancement, 0.0, x)):
        part = hyperprior.transforms
        part.linear_analysis.data.normal_()
        part.linear_synthesis.data.normal_()
        block = (x - grey)[0, :, 16:32, 32:48].reshape(-1)
        assert_near(analyse_whole(part, x, p)[0, :, 1, 2], part.linear_analysis @ block)
        pixels = (part.linear_synthesis @ y[0, :, 1, 2]).view(3, 16, 16) + grey
        assert_near(synthesise_whole(part, y, Size(32, 48), p)[0, :, 16:32, 32:48], pixels)


@pytest.mark.parametrize("size", [Size(1, 1), Size(1, 9), Size(13, 8)])
def test_last_layer_as_a_pixel_shuffle(size):
    x = random_tensor(1, TINY.channels, *size)
    conv = CONVOLUTIONS.synthesis[3]
    assert_near(last_up(conv, x), conv(x))

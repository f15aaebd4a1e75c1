"""LIFF against the paper's formula, on boxes, and its grid."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from model.geometry import Size, whole
from model.network.config import PROFILES
from model.network.liff import LIFF, bicubic, bicubic_whole, nearest
from model.training.network import initialise
from tests.model.network.test_transforms import SIZES, assert_near, box_in, cut, random_tensor
from tests.model.tiny import TINY, TINY_PATCHES, lively_network

LIFFS = {config.feature_step: lively_network(config).liff.eval() for config in (TINY, TINY_PATCHES)}
STEPS = pytest.mark.parametrize("step", LIFFS)


@STEPS
@given(st.data(), SIZES, st.floats(1, 4))
@settings(deadline=None, max_examples=60)
def test_prediction_of_a_box(step, data, small, factor):
    liff, large = LIFFS[step], Size(*(round(edge * factor) for edge in small))
    x = random_tensor(1, 3, *small)
    box = box_in(data, large)
    window = liff.pixels_for_prediction(box, small, large)
    with torch.no_grad():
        assert_near(liff.predict(cut(x, window), window, box, small, large), cut(liff(x, large), box))


def literal_liff(liff: LIFF, x, size):
    """LIFF as the paper writes it: every output pixel has its own 3 x 3 features and its own filter."""
    C, step, small = liff.C, liff.step, x.shape[-2:]
    features = liff.features(liff.patches(x))
    unfolded = F.unfold(features, 3, padding=1).view(C * 9, *features.shape[-2:])
    out = torch.empty(3, *size)
    for i in range(size[0]):
        for j in range(size[1]):
            y, x_near = (int((at + 0.5) * s / b / step) for at, s, b in zip((i, j), small, size, strict=True))
            r = [
                ((at + 0.5) / b - (near + 0.5) * step / s) * 2 * s / step
                for at, b, near, s in zip((i, j), size, (y, x_near), small, strict=True)
            ]
            token = [2 * s / b for s, b in zip(small, size, strict=True)]
            feature = unfolded[:, y, x_near]
            h = torch.relu(liff.first(torch.cat([feature, torch.tensor(r + token, dtype=feature.dtype)])))
            for layer in liff.hidden:
                h = torch.relu(layer(h))
            out[:, i, j] = feature @ liff.last(h).view(C * 9, 3)
    return out[None]


@STEPS
@pytest.mark.parametrize(
    ("small", "large"),
    [
        (Size(5, 4), Size(11, 7)),
        (Size(3, 7), Size(3, 20)),
        (Size(1, 1), Size(5, 6)),
        (Size(6, 6), Size(7, 7)),
    ],
)
def test_liff_is_the_papers_formula(step, small, large, monkeypatch):
    liff = LIFFS[step]
    monkeypatch.setattr(liff, "skip", False)
    x = torch.rand(1, 3, *small, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = literal_liff(liff, x, large)
        assert expected.std() > 0.001
        assert (liff(x, large) - expected).abs().max() < 2e-5
        monkeypatch.setattr(liff, "skip", True)
        assert (liff(x, large) - expected - bicubic_whole(x, large)).abs().max() < 2e-5


@STEPS
def test_strips_change_nothing(step, monkeypatch):
    liff, x, large = LIFFS[step], torch.rand(2, 3, 7, 9), Size(20, 13)
    once = liff(x, large)
    monkeypatch.setattr("model.network.liff._CACHED", 1)
    assert (once - liff(x, large)).abs().max() < 1e-6


def test_a_new_liff_is_the_bicubic_enlargement():
    liff = initialise(TINY).liff
    x = torch.rand(1, 3, 6, 5)
    assert torch.equal(liff(x, Size(13, 9)), bicubic_whole(x, Size(13, 9)))


def test_nearest_and_its_offset():
    index, offset = nearest((0, 4), 2, 4)
    assert index.tolist() == [0, 0, 1, 1]
    assert offset.tolist() == [-0.5, 0.5, -0.5, 0.5]
    index, offset = nearest((1, 3), 3, 3)
    assert index.tolist() == [1, 2]
    assert offset.tolist() == [0, 0]
    for small, large in [(3, 7), (640, 1919), (65535, 65535), (1, 65535)]:
        index, offset = nearest((0, large), small, large)
        assert 0 <= index.min() <= index.max() < small
        assert offset.abs().max() <= 1
        assert torch.equal(offset, -offset.flip(0)) or small % 2 == 0 or large % 2 == 0


@pytest.mark.parametrize("step", [2, 3])
def test_positions_of_several_pixels(step):
    """The offset is that to the centre of the position that holds the output pixel's centre."""
    for small, large in [(7, 7), (8, 13), (5, 20)]:
        index, offset = nearest((0, large), small, large, step)
        centres = (torch.arange(large) + 0.5) * small / large
        assert index.tolist() == [int(c // step) for c in centres]
        torch.testing.assert_close(offset, ((centres / step - index - 0.5) * 2).float())


@pytest.mark.parametrize(
    ("small", "large"), [(Size(1, 1), Size(4, 9)), (Size(7, 5), Size(7, 20)), (Size(31, 40), Size(97, 61))]
)
def test_bicubic_is_torchs(small, large):
    x = random_tensor(1, 3, *small)
    expected = F.interpolate(x, size=large, mode="bicubic", align_corners=False)
    assert_near(bicubic(x, whole(small), whole(large), small, large), expected)


def test_one_pass_serves_training_as_well():
    """Where LIFF is frozen, autocast computes what is at the features' size in bfloat16."""
    liff, x = LIFF(PROFILES["lite"]), torch.rand(2, 3, 40, 56)
    torch.nn.init.normal_(liff.last.weight, std=0.05)
    with torch.no_grad():
        exact = liff(x, Size(70, 90))
        with torch.autocast("cpu", torch.bfloat16):
            assert (liff(x, Size(70, 90)) - exact).abs().max() < 0.05

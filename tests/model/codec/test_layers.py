"""One layer: pieces change nothing, and what an encoder has of a layer is what its decoder will have."""

import math

import numpy as np
import pytest

from model.clock import StageClock
from model.codec.codec import Codec
from model.codec.layers import TILE, Original
from model.codec.pixels import size_of, squared_error
from model.codec.refine import MOST_ERROR, Search
from model.geometry import Size, divide, whole
from model.stream.container import write
from tests.model.tiny import picture

SMALL, LARGE = Size(61, 97), Size(140, 170)


def search(most_error):
    return Search(30, 0, math.inf, most_error, lambda share: None)


@pytest.fixture(scope="module")
def originals(tiny_codec):
    """A base layer, and an enhancement layer over what is decoded of it."""
    first = Original(0, picture(SMALL.width, SMALL.height), 60, None)
    layer, _ = tiny_codec.layers.code(first, StageClock())
    below = tiny_codec.layers.decoded(first, layer, StageClock())
    second = Original(1, picture(LARGE.width, LARGE.height), 60, tiny_codec.layers.predict(below, LARGE))
    return first, second


def test_an_encoder_has_the_pixels_that_decoders_will_have(tiny_codec, originals):
    layers = [tiny_codec.layers.code(one, StageClock())[0] for one in originals]
    stream = write(tiny_codec.model_id, TILE, [layer.coded for layer in layers])
    for k, (original, layer) in enumerate(zip(originals, layers, strict=True)):
        assert np.array_equal(
            tiny_codec.layers.decoded(original, layer, StageClock()), tiny_codec.decode(stream, k)
        )
        assert tiny_codec.latents(stream, k).equal(layer.latents)


def test_a_prediction_is_the_same_box_by_box(tiny_codec, originals):
    below = originals[0].pixels
    predicted = tiny_codec.layers.predict(below, LARGE)
    lazily = tiny_codec.layers.predictor(below[None], whole(SMALL), SMALL, LARGE)
    for box in divide(whole(LARGE), 50):
        assert (predicted(box) - lazily(box)).abs().max() < 1e-5


@pytest.mark.parametrize("k", [0, 1])
def test_pieces_change_nothing(tiny_codec, originals, monkeypatch, k):
    def coded():
        layer, _ = tiny_codec.layers.code(originals[k], StageClock())
        return layer, tiny_codec.layers.decoded(originals[k], layer, StageClock())

    monkeypatch.setattr("model.codec.rounding.UNDECIDED", 1.0)  # what is weighed knows its neighbours alone
    (layer, pixels), _ = coded(), monkeypatch.setattr("model.codec.layers._PIECE", 16 * LARGE.width)
    in_pieces, pixels_in_pieces = coded()
    assert (
        layer.latents != in_pieces.latents
    ).float().mean() < 1e-3  # one near the half is rounded otherwise
    assert np.abs(pixels.astype(int) - pixels_in_pieces).mean() < 0.01


@pytest.mark.parametrize("k", [0, 1])
def test_a_search_is_taken_where_it_costs_less_alone(tiny_codec, originals, k):
    rounded, unknown = tiny_codec.layers.code(originals[k], StageClock())
    assert unknown is None
    before = tiny_codec.layers.decoded(originals[k], rounded, StageClock())
    most = MOST_ERROR * squared_error(before, originals[k].pixels)
    searched, pixels = tiny_codec.layers.code(originals[k], StageClock(), search(most))
    assert np.array_equal(pixels, tiny_codec.layers.decoded(originals[k], searched, StageClock()))
    if np.array_equal(pixels, before):
        assert searched.coded == rounded.coded
    else:
        assert searched.coded.length < rounded.coded.length
        assert squared_error(pixels, originals[k].pixels) <= most


def test_a_search_that_may_have_no_error_is_not_taken(tiny_codec, originals):
    rounded, _ = tiny_codec.layers.code(originals[0], StageClock())
    assert tiny_codec.layers.code(originals[0], StageClock(), search(0))[0].coded == rounded.coded


def test_what_a_layer_needs_of_the_layer_below(tiny_codec, originals):
    """Pixels beyond it may be anything."""
    layers = tiny_codec.layers
    below, box = originals[0].pixels, next(iter(divide(whole(LARGE), 40)))
    needed = layers.pixels_below(box, SMALL, LARGE)
    assert needed.within(SMALL)
    assert needed != whole(SMALL)
    other = np.full_like(below, 255)
    other[needed.slices] = below[needed.slices]
    assert size_of(other) == SMALL
    seen = layers.predictor(other[None], whole(SMALL), SMALL, LARGE)(box)
    assert seen.equal(layers.predictor(below[None], whole(SMALL), SMALL, LARGE)(box))


def test_a_codec_of_layers_of_another_kind(tiny_codec):
    """As an ablation has them: coded larger than they are."""

    class Padded(type(tiny_codec.layers)):
        def coded_size(self, size):
            return Size(192, 192)

    class PaddedCodec(Codec):
        kind_of_layers = Padded

    padded, pixels = PaddedCodec(tiny_codec.weights), picture(LARGE.width, LARGE.height)
    stream = padded.encode(pixels, [LARGE], 60)
    assert padded.latents(stream, 0).shape[2:] == (12, 12)
    assert padded.decode(stream).shape == pixels.shape

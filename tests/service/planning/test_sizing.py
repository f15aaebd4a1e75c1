"""Sizes against Pillow's arithmetic: ImageOps.contain and cover, Image.thumbnail, and the ladder."""

import pytest
from PIL import Image, ImageOps

from model.geometry import Box, Size
from model.stream.ladder import Ladder
from service.errors import BadParameter, NotFound
from service.planning.sizing import (
    Fit,
    View,
    Wanted,
    can_enlarge,
    choose,
    choose_view,
    decoded_alone,
    decoding_cost,
)

PHOTO = Size(3000, 4000)
PORTRAIT = Size(4032, 3024)
WIDE = Size(10, 12000)
SMALL = Size(61, 97)
DOT = Size(1, 1)
LADDER = Ladder((320, 640, 1280, 2560))


def layers_of(size):
    return LADDER.sizes(size)


WIDTHS = [
    (original, width)
    for original in (PHOTO, PORTRAIT, WIDE, SMALL, DOT)
    for width in (1, 99, 320, 500, 1281, 2999, 65535)
]


@pytest.mark.parametrize(("original", "width"), WIDTHS)
def test_width_alone(original, width):
    """Proportions are kept, nothing is enlarged, and the layer is the smallest that suffices."""
    layers = layers_of(original)
    found = choose_view(layers, Wanted(width=width))
    height = max(1, round(original.height * width / original.width))
    expected = Size(height, width) if width < original.width else original
    assert found == View(choose(layers, expected), expected)
    chosen = layers[found.layer]
    assert chosen[0] >= expected[0]
    assert chosen[1] >= expected[1]
    if found.layer:
        below = layers[found.layer - 1]
        assert below[0] < expected[0] or below[1] < expected[1]


def pillows(size):
    """The size that Pillow calls (width, height)."""
    return Size(size[1], size[0])


BOXES = [(800, 600), (800, 800), (300, 900), (1000, 10), (333, 777), (4000, 3000), (64, 64)]


@pytest.mark.parametrize("original", [PHOTO, PORTRAIT])
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("fit", [Fit.CONTAIN, Fit.INSIDE])
def test_contain_as_pillow(original, box, fit):
    found = choose_view(layers_of(original), Wanted(*box, fit=fit))
    expected = ImageOps.contain(Image.new("1", pillows(original)), box).size
    assert found.crop is None
    assert found.size == pillows(expected)


@pytest.mark.parametrize("original", [PHOTO, PORTRAIT, SMALL])
@pytest.mark.parametrize("box", [(50, 50), (60, 20), (20, 61), (97, 61)])
def test_cover_as_pillow(original, box):
    """Size and the part that shows, up to the layer's whole pixels, are those of ImageOps.fit."""
    layers = layers_of(original)
    found = choose_view(layers, Wanted(*box, fit=Fit.COVER))
    assert found.size == pillows(box)
    height, width = layers[found.layer]
    top, left, bottom, right = found.crop or (0, 0, height, width)
    live = original.width / original.height
    ratio = box[0] / box[1]
    crop_width, crop_height = (width, width / ratio) if live <= ratio else (ratio * height, height)
    assert abs((right - left) - crop_width) <= 1
    assert abs((bottom - top) - crop_height) <= 1
    assert abs(left - (width - (right - left)) / 2) <= 1
    assert abs(top - (height - (bottom - top)) / 2) <= 1
    assert right <= width
    assert bottom <= height


@pytest.mark.parametrize(
    ("original", "wanted", "size"),
    [
        (PHOTO, Wanted(), PHOTO),
        (PHOTO, Wanted(height=300), (400, 300)),
        (PHOTO, Wanted(width=100, dpr=2), (200, 150)),
        (PHOTO, Wanted(width=100, dpr=1.5), (150, 112)),
        (PHOTO, Wanted(width=333, dpr=3), (999, 749)),
        (PHOTO, Wanted(width=5000), PHOTO),
        (PHOTO, Wanted(width=5000, upscale=True), (5000, 3750)),
        (PHOTO, Wanted(width=50000, upscale=True), (8000, 6000)),
        (PHOTO, Wanted(width=5000, upscale=True, fit=Fit.INSIDE), PHOTO),
        (PHOTO, Wanted(width=800, height=100, fit=Fit.FILL), (800, 100)),
        (PHOTO, Wanted(width=8000, height=100, fit=Fit.FILL), (4000, 100)),
        (PHOTO, Wanted(width=9000, height=100, fit=Fit.FILL, upscale=True), (8000, 100)),
        (PHOTO, Wanted(width=6000, height=6000, fit=Fit.COVER), (3000, 3000)),
        (PHOTO, Wanted(width=6000, height=6000, fit=Fit.COVER, upscale=True), (6000, 6000)),
        (PHOTO, Wanted(width=16000, height=8000, fit=Fit.COVER, upscale=True), (8000, 4000)),
        (PHOTO, Wanted(width=300, fit=Fit.COVER), (300, 225)),
        (PHOTO, Wanted(height=300, fit=Fit.FILL), (400, 300)),
        (PHOTO, Wanted(layer=0), (320, 240)),
        (PHOTO, Wanted(layer=4), PHOTO),
        (PHOTO, Wanted(layer=1, dpr=3), (640, 480)),
        (WIDE, Wanted(width=100), (100, 1)),
        (WIDE, Wanted(height=5), (6000, 5)),
        (WIDE, Wanted(width=100, height=100, fit=Fit.COVER), (10, 10)),
        (DOT, Wanted(width=100, height=100, fit=Fit.FILL), (1, 1)),
        (DOT, Wanted(width=100, upscale=True), (2, 2)),
        (SMALL, Wanted(width=1, height=1, fit=Fit.FILL), (1, 1)),
    ],
)
def test_size(original, wanted, size):
    expected = size if isinstance(size, Size) else pillows(size)
    assert choose_view(layers_of(original), wanted).size == expected


def test_layer_is_chosen_by_both_dimensions():
    layers = [Size(100, 100), Size(100, 200), Size(200, 200)]
    assert choose_view(layers, Wanted(width=100, height=100, fit=Fit.FILL)).layer == 0
    assert choose_view(layers, Wanted(width=150, height=90, fit=Fit.FILL)).layer == 1
    assert choose_view(layers, Wanted(width=90, height=150, fit=Fit.FILL)).layer == 2


def test_exact_layers_need_no_resizing():
    for k, size in enumerate(layers_of(PORTRAIT)):
        assert choose_view(layers_of(PORTRAIT), Wanted(width=size.width)) == View(k, size)


def test_contradictions_are_refused():
    with pytest.raises(BadParameter):
        choose_view([PHOTO], Wanted(width=3, layer=0))
    with pytest.raises(NotFound):
        choose_view([PHOTO], Wanted(layer=1))


def test_a_part_costs_its_share_if_it_is_decoded_alone():
    layers = [Size(50, 100), Size(200, 400)]
    assert decoding_cost(layers, 0) == 5000
    assert decoding_cost(layers, 1) == 85000
    assert decoding_cost(layers, 1, Box(0, 0, 20, 40)) == 850
    assert decoding_cost(layers, 1, Box(0, 0, 100, 200)) == 85000 / 4
    assert decoding_cost(layers, 1, Box(0, 0, 100, 201)) == 85000
    assert decoded_alone(Box(150, 300, 200, 400), Size(200, 400))
    assert not decoded_alone(None, Size(200, 400))


def test_the_network_enlarges_both_edges_to_at_most_twice_their_size():
    small = Size(40, 60)
    assert can_enlarge(small, Size(80, 120))
    assert can_enlarge(small, Size(41, 61))
    assert not can_enlarge(small, Size(40, 61))
    assert not can_enlarge(small, Size(81, 120))
    assert not can_enlarge(small, Size(20, 120))

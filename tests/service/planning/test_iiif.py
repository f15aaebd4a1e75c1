"""What IIIF URLs mean, without a service."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import Box, Size, whole
from service.errors import BadRequest, NotImplementedHere
from service.planning.iiif import Limits, information, parse

PICTURE = Size(400, 600)
LIMITS = Limits.of(PICTURE, 900_000)
LAYERS = [Size(100, 150), Size(200, 300), PICTURE]


def understood(region="full", size="max", rotation="0", file="default.jpg"):
    return parse(PICTURE, LIMITS, region, size, rotation, file)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("full", (0, 0, 600, 400)),
        ("square", (100, 0, 500, 400)),
        ("10,20,30,40", (10, 20, 40, 60)),
        ("590,390,100,100", (590, 390, 600, 400)),
        ("pct:50,25,25,50", (300, 100, 450, 300)),
        ("pct:0,0,0.01,.01", (0, 0, 1, 1)),
        ("pct:41.6,7.5,40,70", (250, 30, 490, 310)),
        ("pct:99.95,0,0.05,100", (599, 0, 600, 400)),
        ("pct:0,99.9,100,5", (0, 399, 600, 400)),
        ("pct:99.999999999,99.999999999,.000000001,.000000001", (599, 399, 600, 400)),
    ],
)
def test_regions(text, box):
    assert understood(region=text).region.edges == box


@pytest.mark.parametrize(
    "text",
    [
        "all",
        "FULL",
        "0,0,0,10",
        "0,0,10,0",
        "600,0,1,1",
        "0,400,1,1",
        "-1,0,5,5",
        "1,2,3",
        "1,2,3,4,5",
        "1.5,0,2,2",
        "１,2,3,4",
        "pct:0,0,0,1",
        "pct:100,0,1,1",
        "pct:0,100,1,1",
        "pct:99.95,0,0,100",
        "pct:a,0,1,1",
        "",
        "full ",
        "1,2,3,4\n",
    ],
)
def test_bad_regions(text):
    with pytest.raises(BadRequest):
        understood(region=text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("max", (600, 400)),
        ("300,", (300, 200)),
        (",100", (150, 100)),
        ("pct:50", (300, 200)),
        ("pct:12.5", (75, 50)),
        ("100,300", (100, 300)),
        ("!100,300", (100, 67)),
        ("!5000,5000", (600, 400)),
        ("^!900,5000", (900, 600)),
        ("^900,", (900, 600)),
        ("^,600", (900, 600)),
        ("^pct:150", (900, 600)),
        ("^700,100", (700, 100)),
        ("^300,", (300, 200)),
        ("^max", (1161, 774)),
        ("1,", (1, 1)),
    ],
)
def test_sizes(text, size):
    assert understood(size=text).size == Size(size[1], size[0])


@pytest.mark.parametrize(
    "text",
    [
        "full",
        "601,",
        ",401",
        "pct:101",
        "601,400",
        "0,",
        ",0",
        "0,10",
        "!0,10",
        "pct:0",
        "^1201,1",
        "^1200,800",
        "^1,900",
        ",",
        "!100,",
        "!,100",
        "^",
        "^^max",
        "10",
        "-5,",
        "1.5,",
        "max,",
    ],
)
def test_bad_sizes(text):
    with pytest.raises(BadRequest):
        understood(size=text)


def test_max_keeps_to_the_limit():
    size = parse(PICTURE, Limits(1200, 800, 60_000), "full", "max", "0", "default.jpg").size
    assert size == Size(200, 300)


@pytest.mark.parametrize(
    ("text", "turn"),
    [
        ("0", (False, 0)),
        ("90", (False, 90)),
        ("360", (False, 0)),
        ("!180", (True, 180)),
        ("270.0", (False, 270)),
    ],
)
def test_rotations(text, turn):
    wanted = understood(rotation=text)
    assert (wanted.mirror, wanted.rotation) == turn


@pytest.mark.parametrize("text", ["-90", "361", "!", "90!", "ninety", "1e2"])
def test_bad_rotations(text):
    with pytest.raises(BadRequest):
        understood(rotation=text)


@pytest.mark.parametrize(
    "file", ["default", "default.", ".jpg", "grey.jpg", "default.jpeg", "default.jpg.exe"]
)
def test_bad_files(file):
    with pytest.raises(BadRequest):
        understood(file=file)


def test_what_the_standard_knows_and_this_service_does_not():
    with pytest.raises(NotImplementedHere):
        understood(rotation="22.5")
    with pytest.raises(NotImplementedHere):
        understood(file="default.tif")


@pytest.mark.parametrize(
    ("region", "size", "layer"),
    [
        ("full", "150,", 0),
        ("full", "151,", 0),
        ("full", "160,", 1),
        ("full", "max", 2),
        ("0,0,100,100", "25,", 0),
        ("0,0,100,100", "max", 2),
        ("0,0,100,100", "10,50", 1),
        ("full", "^1100,", 2),
    ],
)
def test_the_smallest_layer_that_serves(region, size, layer):
    assert understood(region, size).layer(LAYERS) == layer


def test_the_region_in_a_layer():
    assert understood("full").crop(PICTURE, Size(200, 300)) is None
    assert understood("100,50,200,100").crop(PICTURE, Size(200, 300)) == Box(25, 50, 75, 150)
    assert understood("599,399,1,1", "1,1").crop(PICTURE, Size(100, 150)) == Box(99, 149, 100, 150)


@pytest.mark.parametrize(
    ("asked", "canonical"),
    [
        (("0,0,600,400", "600,400", "0", "color.jpg"), "full/max/0/default.jpg"),
        (("pct:50,25,25,50", "pct:50", "90.0", "gray.png"), "300,100,150,200/75,100/90/gray.png"),
        (("square", "^800,", "!360", "default.webp"), "100,0,400,400/^800,800/!0/default.webp"),
    ],
)
def test_canonical_paths(asked, canonical):
    assert understood(*asked).canonical(PICTURE) == canonical
    assert understood(*canonical.split("/")).canonical(PICTURE) == canonical


@given(
    st.builds(Size, st.integers(1, 5000), st.integers(1, 5000)),
    *[st.integers(0, 6000)] * 4,
    st.sampled_from(["max", "^max", "7,", ",7", "pct:3", "!9,4", "^!3000,20", "^50,50"]),
)
def test_every_request_can_be_done(picture, x, y, w, h, size):
    layers = [Size(max(1, picture.height // 3), max(1, picture.width // 3)), picture]
    limits = Limits.of(picture, 10**6)
    try:
        wanted = parse(picture, limits, f"{x},{y},{w},{h}", size, "90", "default.png")
    except BadRequest:
        return
    layer = layers[wanted.layer(layers)]
    assert (wanted.crop(picture, layer) or whole(layer)).within(layer)
    assert min(wanted.size) >= 1
    assert limits.allow(wanted.size)


def test_information():
    content = information("http://here/iiif/3/x", LAYERS, LIMITS)
    assert (content["height"], content["width"]) == PICTURE
    assert content["sizes"] == [{"width": size.width, "height": size.height} for size in LAYERS]
    assert content["tiles"] == [{"width": 512, "height": 512, "scaleFactors": [1, 2]}]

"""IIIF against the running service."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.service.routes.test_images import problem
from tests.service.samples import pixels


@pytest.fixture
def get(service, stored):
    """Asks for a part of the stored picture, 200 x 150 with layers of 50, 100 and 200 pixels."""

    def ask(path, status=200, **headers):
        answer = service.client.get(f"/iiif/3/{stored['id']}/{path}", headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    return ask


def test_info(service, stored, get):
    answer = get("info.json")
    info = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert info["id"] == f"{service.url}/iiif/3/{stored['id']}"
    assert [size["width"] for size in info["sizes"]] == [50, 100, 200]
    linked = get("info.json", Accept="application/ld+json")
    assert linked.headers["content-type"].startswith('application/ld+json;profile="http://iiif.io/')


def test_the_base_leads_to_info(service, stored):
    answer = service.client.get(f"/iiif/3/{stored['id']}")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/iiif/3/{stored['id']}/info.json"
    known = service.client.get(f"/iiif/3/{stored['id']}", headers={"Host": "evil.example.org"})
    assert "evil" not in str(known.headers)
    part = f"/iiif/3/{stored['id']}/full/50,38/0/default.png"
    known = service.client.get(part, headers={"Host": "evil.example.org"})
    assert "evil" not in str(known.headers)
    assert f'<{part}>;rel="canonical"' in known.headers["link"]


@pytest.mark.parametrize(
    ("path", "size", "layer"),
    [
        ("full/max/0/default.png", (200, 150), 2),
        ("full/max/90/default.png", (150, 200), 2),
        ("square/50,/0/default.png", (50, 50), 1),
        ("full/50,/0/default.png", (50, 38), 0),
        ("100,50,100,100/,25/270/default.png", (25, 25), 0),
        ("pct:0,0,50,50/^200,/0/default.png", (200, 150), 2),
        ("pct:0,0,50,50/^max/0/default.png", (200, 150), 2),
    ],
)
def test_sizes(get, path, size, layer):
    answer = get(path)
    with Image.open(BytesIO(answer.content)) as image:
        assert image.size == size
    assert answer.headers["compass-layer"] == str(layer)
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("size", ["^400,300", "^300,", "^,151", "^pct:201"])
def test_a_small_region_is_not_blown_up_for_everybody(get, size):
    """Twice its size at most, or a pixel could be asked for as megapixels."""
    problem(get(f"pct:0,0,50,50/{size}/0/default.png", status=400), 400)


def test_a_region_is_that_part_of_the_picture(get):
    whole = pixels(get("full/max/0/default.png").content)
    part = pixels(get("30,40,60,20/max/0/default.png").content)
    assert np.array_equal(part, whole[40:60, 30:90])


def test_turns_and_mirrors(get):
    whole = pixels(get("full/max/0/default.png").content)
    assert np.array_equal(pixels(get("full/max/90/default.png").content), np.rot90(whole, -1))
    assert np.array_equal(pixels(get("full/max/180/default.png").content), whole[::-1, ::-1])
    assert np.array_equal(pixels(get("full/max/!270/default.png").content), np.rot90(whole[:, ::-1]))


def test_qualities(get):
    with Image.open(BytesIO(get("full/max/0/gray.jpg").content)) as gray:
        assert gray.mode == "L"
    assert set(np.unique(pixels(get("full/max/0/bitonal.png").content))) <= {0, 255}


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "avif"])
def test_formats(get, kind):
    answer = get(f"full/50,/0/default.{kind}")
    with Image.open(BytesIO(answer.content)) as image:
        assert image.format == {"jpg": "JPEG"}.get(kind, kind.upper())


def test_caching(get):
    first = get("full/50,/0/default.jpg")
    assert 'rel="canonical"' in first.headers["link"]
    assert "immutable" in first.headers["cache-control"]
    get("full/50,/0/default.jpg", 304, **{"If-None-Match": first.headers["etag"]})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("full/max/0/default.bmp", 400),
        ("full/max/0/best.jpg", 400),
        ("full/max/0/default", 400),
        ("most/max/0/default.jpg", 400),
        ("900,900,1,1/max/0/default.jpg", 400),
        ("full/full/0/default.jpg", 400),
        ("full/201,/0/default.jpg", 400),
        ("full/max/x/default.jpg", 400),
        ("full/max/45/default.jpg", 501),
        ("full/max/0/default.tif", 501),
        ("full/max/0", 404),
        ("full/max/0/default.jpg/more", 404),
    ],
)
def test_errors(get, path, status):
    problem(get(path, status), status)


@pytest.mark.parametrize("picture", ["a" * 32, "nonsense", "..%2f..%2fetc", "[frob]"])
def test_unknown_pictures(service, picture):
    problem(service.client.get(f"/iiif/3/{picture}/info.json"), 404)
    problem(service.client.get(f"/iiif/3/{picture}/full/max/0/default.jpg"), 404)

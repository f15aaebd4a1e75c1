"""Getting pictures and streams, against the running service."""

from io import BytesIO

import pytest
from PIL import Image

from model.stream.container import layers_held, read_header, verify
from tests.service.routes.test_images import problem
from tests.service.samples import pixels

UNKEPT = {"Cache-Control": "no-store"}
"""Asks for an answer that no cache keeps."""


def get(service, stored, status=200, headers=None, **parameters):
    answer = service.client.get(stored["url"], params=parameters, headers=headers)
    assert answer.status_code == status, answer.text
    return answer


@pytest.mark.parametrize(
    ("parameters", "size", "layer"),
    [
        ({"width": 30}, (30, 22), 0),
        ({"width": 50}, (50, 38), 0),
        ({"width": 51}, (51, 38), 1),
        ({"width": 5000}, (200, 150), 2),
        ({}, (200, 150), 2),
        ({"height": 75}, (100, 75), 1),
        ({"width": 25, "dpr": 2}, (50, 38), 0),
        ({"width": 40, "height": 40, "fit": "cover"}, (40, 40), 1),
        ({"width": 40, "height": 40, "fit": "fill"}, (40, 40), 1),
        ({"width": 40, "height": 40, "fit": "inside"}, (40, 30), 0),
        ({"width": 300, "upscale": "true"}, (300, 225), 2),
        ({"layer": 1}, (100, 75), 1),
    ],
)
def test_sizes(service, stored, parameters, size, layer):
    answer = get(service, stored, format="png", **parameters)
    with Image.open(BytesIO(answer.content)) as image:
        assert image.size == size
    assert answer.headers["compass-layer"] == str(layer)


@pytest.mark.parametrize("name", ["avif", "webp", "jpeg", "png"])
def test_formats(service, stored, name):
    answer = get(service, stored, width=60, format=name)
    assert answer.headers["content-type"] == f"image/{name}"
    assert "vary" not in answer.headers
    with Image.open(BytesIO(answer.content)) as image:
        assert image.size == (60, 45)
        assert (image.format or "").lower() == name
    negotiated = get(service, stored, headers={"Accept": f"image/{name},text/html"}, width=60)
    assert negotiated.content == answer.content
    assert negotiated.headers["vary"] == "Accept"


def test_picture_resembles_its_original(service, stored, photo_file):
    found = pixels(get(service, stored, format="png").content)
    assert abs(found - pixels(photo_file)).mean() < 16


def test_smallest_layer_reads_little_of_the_stream(service, stored):
    read = service.metric("compass_bytes_read_total")
    answer = get(service, stored, width=47, format="jpeg")
    grown = service.metric("compass_bytes_read_total") - read
    assert grown == stored["layers"][0]["prefix"] == int(answer.headers["compass-bytes-read"])
    assert answer.headers["compass-bytes-stored"] == str(stored["bytes"])


def test_quality(service, stored):
    small, large = (len(get(service, stored, format="jpeg", q=q).content) for q in (10, 95))
    assert small < large


@pytest.mark.parametrize(
    "query",
    [
        "width=0", "width=-1", "width=abc", "width=1e3", "width=", "width=99999999999999999999", "height=0",
        "fit=none", "dpr=0", "dpr=6", "dpr=nan", "format=gif", "q=0", "q=101", "layer=-1", "layer=99",
        "width=10&layer=0", "background=red", "upscale=perhaps",
    ],
)  # fmt: skip
def test_bad_parameters(service, stored, query):
    problem(service.client.get(f"{stored['url']}?{query}"), 422)


def test_layer_that_is_not_there(service, stored):
    problem(service.client.get(f"{stored['url']}?layer=3"), 404)


def test_nothing_acceptable(service, stored):
    problem(service.client.get(stored["url"], headers={"Accept": "text/html"}), 406)


def test_caching_headers(service, stored):
    answer = get(service, stored, width=60)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["etag"].startswith('W/"')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers
    tags = {
        get(service, stored, **p).headers["etag"]
        for p in ({"width": 60}, {"width": 61}, {"width": 60, "q": 3}, {"width": 60, "format": "png"})
    }
    assert len(tags) == 4
    same = get(service, stored, width=30, dpr=2)
    assert same.headers["etag"] == answer.headers["etag"]


def test_head_does_not_tell_another_length_than_get(service, stored):
    iiif = f"/iiif/3/{stored['id']}/full/50,/0/default.jpg"
    for path in (f"{stored['url']}?width=60", f"{stored['url']}/stream", iiif):
        got = service.client.get(path)
        head = service.client.head(path)
        assert head.status_code == 200
        assert head.headers.get("content-length") in (None, got.headers["content-length"])
        for name in ("content-type", "etag", "cache-control"):
            assert head.headers[name] == got.headers[name]


def test_answers_are_cached(service, stored):
    get(service, stored, width=61)
    hits = service.metric("compass_cache_hits_total", cache="answers")
    renders = service.metric("compass_renders_total")
    read = service.metric("compass_bytes_read_total")
    assert get(service, stored, headers=UNKEPT, width=61).headers["server-timing"] == "cache"
    assert service.metric("compass_cache_hits_total", cache="answers") == hits + 1
    assert service.metric("compass_renders_total") == renders
    assert service.metric("compass_bytes_read_total") == read


def test_server_timing(service, stored):
    kept = get(service, stored, width=62)
    assert kept.headers["cache-control"].startswith("public")
    assert "server-timing" not in kept.headers  # or a cache would tell it for a year
    unkept = get(service, stored, headers=UNKEPT, width=63)
    assert unkept.headers["cache-control"] == "private, no-store"
    timing = unkept.headers["server-timing"]
    stages = [part.split(";dur=") for part in timing.split(", ")]
    assert {"queue", "fetch", "encode"} <= {name for name, _ in stages}
    assert all(float(value) >= 0 for _, value in stages)


def test_request_id(service):
    assert (
        service.client.get("/healthz", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    )
    for bad in ("a b", "x" * 65, ""):
        given = service.client.get("/healthz", headers={"X-Request-ID": bad}).headers["x-request-id"]
        assert len(given) == 32
    assert '"request": "abc-1"' in service.log


def test_stream_prefixes(service, stored):
    whole = service.client.get(f"{stored['url']}/stream")
    assert whole.headers["content-type"] == "application/vnd.compass"
    assert len(verify(whole.content).layers) == 3
    for k, layer in enumerate(stored["layers"]):
        by_width = service.client.get(f"{stored['url']}/stream", params={"width": layer["width"]}).content
        by_number = service.client.get(f"{stored['url']}/stream", params={"layer": k}).content
        assert by_width == by_number == whole.content[: layer["prefix"]]
        assert layers_held(read_header(by_width), len(by_width)) == k + 1
    problem(service.client.get(f"{stored['url']}/stream?layer=3"), 404)
    problem(service.client.get(f"{stored['url']}/stream?layer=1&width=3"), 422)


def test_stream_ranges(service, stored):
    """A client that has the first layer gets the second one alone."""
    url = f"{stored['url']}/stream"
    first = service.client.get(url, params={"layer": 0})
    start, end = (stored["layers"][k]["prefix"] for k in (0, 1))
    second = service.client.get(url, headers={"Range": f"bytes={start}-{end - 1}"})
    whole = service.client.get(url)
    assert second.status_code == 206
    assert second.headers["content-range"] == f"bytes {start}-{end - 1}/{len(whole.content)}"
    assert first.content + second.content == whole.content[:end]
    stale = service.client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, whole.content)
    fresh = service.client.get(url, headers={"Range": "bytes=0-9", "If-Range": whole.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (206, whole.content[:10])
    beyond = service.client.get(url, headers={"Range": "bytes=99999999-"})
    problem(beyond, 416)
    assert beyond.headers["content-range"] == f"bytes */{len(whole.content)}"
    head = service.client.head(url)
    assert (head.headers["content-length"], head.headers["etag"]) == (
        str(len(whole.content)),
        whole.headers["etag"],
    )
    assert service.client.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_health(service):
    assert service.client.get("/healthz").json() == {"status": "ok"}
    assert service.client.get("/readyz").json() == {"status": "ok"}
    text = service.client.get("/metrics").text
    assert "compass_build_info" in text
    assert service.metric("compass_workers_ready") == 1

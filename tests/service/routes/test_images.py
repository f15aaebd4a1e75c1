"""Keeping, listing and deleting pictures, against the running service."""

import socket
import time
from contextlib import suppress

import httpx
import pytest

from tests.service.samples import bomb, encoded, oriented, photo, pixels


def problem(answer, status):
    """The body of an error, checked for its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


def test_upload_as_form(service):
    data = encoded(photo(90, 60, seed=1), "PNG")
    answer = service.client.post("/images?widths=30,60&quality=50", files={"file": ("a.png", data)})
    assert answer.status_code == 201
    info = answer.json()
    assert answer.headers["location"] == f"/images/{info['id']}" == info["url"]
    assert (info["width"], info["height"], info["quality"]) == (90, 60, 50)
    assert [(layer["width"], layer["height"]) for layer in info["layers"]] == [(30, 20), (60, 40), (90, 60)]
    assert info["layers"][-1]["prefix"] == info["bytes"]
    assert info["source_bytes"] == len(data)
    assert (info["source_format"], info["source_bits"]) == ("PNG", 8)
    assert service.client.get(answer.headers["location"]).status_code == 200


def test_upload_as_raw_body(service):
    data = encoded(photo(90, 60, seed=2), "JPEG")
    answer = service.client.post("/images", content=data, headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 201
    chunks = (data[k : k + 100] for k in range(0, len(data), 100))  # chunked: no Content-Length
    again = service.client.post("/images", content=chunks)
    assert again.status_code == 200
    assert again.json()["id"] == answer.json()["id"]


def test_same_upload_is_stored_once(service):
    data = encoded(photo(80, 60, seed=3), "PNG")
    first = service.client.post("/images", files={"file": data})
    stored = service.metric("compass_bytes_stored_total")
    coded = service.metric("compass_stage_seconds_count", stage="code")
    second = service.client.post("/images", files={"file": data})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert service.metric("compass_bytes_stored_total") == stored
    assert service.metric("compass_stage_seconds_count", stage="code") == coded


def test_other_parameters_are_another_picture(service):
    data = encoded(photo(80, 60, seed=4), "PNG")
    ids = {
        service.upload(data, **p)["id"] for p in ({}, {"quality": 10}, {"widths": "20"}, {"max_width": 40})
    }
    assert len(ids) == 4


def test_default_ladder_stops_at_the_pictures_own_size(service):
    info = service.upload(encoded(photo(700, 30), "PNG"))
    assert [layer["width"] for layer in info["layers"]] == [320, 700]


def test_max_width(service):
    info = service.upload(encoded(photo(80, 60, seed=5), "PNG"), max_width=40)
    assert (info["width"], info["height"]) == (40, 30)


@pytest.mark.parametrize("orientation", [1, 6])
def test_orientation_is_applied(service, orientation):
    info = service.upload(oriented(photo(80, 60, seed=6), orientation))
    assert (info["width"], info["height"]) == (80, 60)


def test_transparency_comes_back(service):
    image = photo(80, 60, seed=7)
    mask = photo(80, 60, seed=8).convert("L")
    image.putalpha(mask)
    info = service.upload(encoded(image, "PNG"), widths="40")
    assert info["alpha"] is True
    found = pixels(service.client.get(info["url"], params={"format": "png"}).content)
    assert (found[..., 3] == pixels(encoded(mask, "PNG"))).all()
    small = service.client.get(info["url"], params={"width": 40, "format": "webp"})
    assert pixels(small.content).shape == (30, 40, 4)
    flat = service.client.get(info["url"], params={"format": "jpeg", "background": "ff0000", "q": 100})
    expected = found[..., :3] * found[..., 3:] / 255 + [255, 0, 0] * (1 - found[..., 3:] / 255)
    assert abs(pixels(flat.content) - expected).mean() < 4
    assert service.client.get(info["url"]).headers["content-type"] == "image/webp"


def test_time_to_live(service):
    data = encoded(photo(60, 40, seed=9), "PNG")
    info = service.upload(data, ttl=1000)
    assert info["expires"]
    control = service.client.get(info["url"]).headers["cache-control"]
    assert 900 < int(control.removeprefix("public, max-age=")) <= 1000
    assert service.upload(data)["expires"] is None  # kept for ever now
    assert service.client.get(f"{info['url']}/info").json()["expires"] is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"not a picture", 415),
        (b"", 400),
        (bomb(30_000, 30_000), 413),
        (encoded(photo(60, 60), "PNG")[:900], 422),
        (encoded(photo(60, 60), "JPEG")[:700], 422),
        (b"\xff\xd8\xff\xe0" + b"\0" * 100, 415),
        (b"x" * (8 * 2**20 + 1), 413),
    ],
)
@pytest.mark.parametrize("form", [True, False])
def test_bad_uploads(service, data, status, form):
    stored = service.metric("compass_pictures_stored_total")
    send = {"files": {"file": data}} if form else {"content": data}
    problem(service.client.post("/images", **send), status)
    assert service.metric("compass_pictures_stored_total") == stored


@pytest.mark.parametrize(
    "query",
    [
        "quality=0", "quality=101", "quality=x", "widths=", "widths=0", "widths=1,,2", "widths=70000",
        "widths=1,2,3,4,5,6,7,8,9", "max_width=0", "ttl=0", "ttl=99999999999",
    ],
)  # fmt: skip
def test_bad_parameters(service, photo_file, query):
    problem(service.client.post(f"/images?{query}", files={"file": photo_file}), 422)


def test_bad_forms(service, photo_file):
    client = service.client
    problem(client.post("/images", files={"picture": photo_file}), 400)
    problem(client.post("/images", files={"file": photo_file}, data={"quality": "3"}), 400)
    problem(client.post("/images", files=[("file", photo_file), ("file", photo_file)]), 400)
    problem(client.post("/images", headers={"Content-Type": "text/html"}, content=b"<p>"), 415)
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
        problem(client.post("/images", headers={"Content-Type": content_type}, content=b"rubbish"), 400)


def test_too_large_is_refused_before_all_has_come(service):
    """The answer comes though the body never ends."""

    def endless():
        while True:
            yield b"x" * 65536

    with suppress(httpx.WriteError):  # the service may close the connection while we still send
        problem(service.client.post("/images", content=endless()), 413)
    assert service.client.get("/healthz").status_code == 200


def test_listing(service):
    ids = [service.upload(encoded(photo(20, 20, seed=k), "PNG"))["id"] for k in range(50, 55)]
    found = []
    cursor = None
    while True:
        page = service.client.get(
            "/images", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json()
        found += [image["id"] for image in page["images"]]
        assert len(page["images"]) <= 2
        cursor = page["next"]
        if cursor is None:
            break
    assert found[:5] == ids[::-1]
    assert len(found) == len(set(found))
    for bad in ("cursor=x", "limit=0", "limit=501", "limit=a"):
        problem(service.client.get(f"/images?{bad}"), 422)


def test_info(service, stored):
    info = service.client.get(f"{stored['url']}/info").json()
    assert info == stored
    assert info["srcset"].endswith(f"{stored['url']}?width=200 200w")
    assert info["thumbhash"]
    assert info["average"].startswith("#")


def test_delete(service):
    info = service.upload(encoded(photo(40, 40, seed=60), "PNG"))
    assert service.client.get(info["url"]).status_code == 200
    assert service.client.delete(info["url"]).status_code == 204
    for path in ("", "/info", "/stream"):
        problem(service.client.get(info["url"] + path), 404)
    problem(service.client.delete(info["url"]), 404)
    listed = service.client.get("/images?limit=500").json()["images"]
    assert info["id"] not in {image["id"] for image in listed}
    assert service.upload(encoded(photo(40, 40, seed=60), "PNG"))["id"] == info["id"]


@pytest.mark.parametrize("name", ["a" * 32, "A" * 32, "x", "%00", "..%2f..", "a" * 33, "é"])
def test_unknown_pictures(service, name):
    for path in ("", "/info", "/stream"):
        problem(service.client.get(f"/images/{name}{path}"), 404)


def test_unknown_routes_and_methods(service, stored):
    problem(service.client.get("/nothing"), 404)
    refused = service.client.put(stored["url"])
    problem(refused, 405)
    assert refused.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"
    assert service.client.options("/images").headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_head_is_wherever_get_is(service, stored):
    iiif = f"/iiif/3/{stored['id']}"
    paths = ("/images", f"{stored['url']}/info", iiif, f"{iiif}/info.json", "/healthz", "/readyz", "/metrics")
    for path in (*paths, "/openapi.json", "/docs", "/", "/static/main.js"):
        got, head = service.client.get(path), service.client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers.get("content-type") == got.headers.get("content-type")


def test_json_is_compressed_for_those_who_take_it(service, stored):
    for path in (f"{stored['url']}/info", "/openapi.json", "/metrics"):
        packed = service.client.get(path, headers={"Accept-Encoding": "gzip"})
        plain = service.client.get(path, headers={"Accept-Encoding": "gzip;q=0, identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["vary"] == "Accept-Encoding"
        assert "content-encoding" not in plain.headers
        assert path == "/metrics" or packed.json() == plain.json()
    picture = service.client.get(stored["url"], headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in picture.headers


@pytest.mark.parametrize("media", ["image/png", "multipart/form-data; boundary=x"])
def test_an_upload_that_is_broken_off_is_no_error(service, media):
    head = f"POST /images HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\nContent-Length: 1000\r\n\r\n"
    gone = service.metric("compass_requests_total", route="/images", status="499")
    failed = service.metric("compass_requests_total", route="/images", status="500")
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head.encode() + b"--x\r\n")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if service.metric("compass_requests_total", route="/images", status="499") == gone + 1:
            break
        time.sleep(0.05)
    assert service.metric("compass_requests_total", route="/images", status="499") == gone + 1
    assert service.metric("compass_requests_total", route="/images", status="500") == failed

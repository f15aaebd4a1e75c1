"""Pictures damaged in the store: repaired by the same upload, deleted by their id."""

import pytest
import redis

from tests.service.routes.test_images import problem
from tests.service.samples import encoded, photo


@pytest.fixture(scope="module")
def raw(service):
    """A plain client of the service's own store, to break things with."""
    with redis.Redis(unix_socket_path=str(service.folder / "data" / "valkey.sock")) as client:
        yield client


def transparent(seed: int) -> bytes:
    image = photo(60, 40, seed=seed)
    image.putalpha(photo(60, 40, seed=seed + 1).convert("L"))
    return encoded(image, "PNG")


@pytest.mark.parametrize(
    ("name", "at"), [("stream", 0), ("stream", -5), ("facts", 0), ("alpha:0", None), ("alpha:0", 50)]
)
def test_the_same_upload_repairs(service, raw, name, at):
    data = transparent(seed=200)
    info = service.upload(data)
    key = f"{{{info['id']}}}:{name}"
    whole = raw.get(key)
    if at is None:
        raw.delete(key)
    else:
        raw.setrange(key, at % len(whole), b"!!")
    answer = service.client.post("/images", files={"file": data})
    assert answer.status_code == 201
    assert answer.json()["id"] == info["id"]
    assert service.client.get(f"{info['url']}/stream").status_code == 200
    assert service.client.get(info["url"], params={"format": "png"}).status_code == 200
    assert service.client.post("/images", files={"file": data}).status_code == 200
    if name != "facts":
        assert raw.get(key) == whole


@pytest.mark.parametrize(("name", "at"), [("stream", 0), ("stream", -5), ("facts", 0)])
def test_damaged_pictures_can_be_deleted(service, raw, name, at):
    info = service.upload(transparent(seed=202))
    key = f"{{{info['id']}}}:{name}"
    raw.setrange(key, at % raw.strlen(key), b"!!")
    assert service.client.delete(info["url"]).status_code == 204
    problem(service.client.get(info["url"]), 404)
    assert not raw.keys(f"{{{info['id']}}}:*")
    listed = service.client.get("/images?limit=500").json()["images"]
    assert info["id"] not in {image["id"] for image in listed}


def test_a_damaged_stream_is_not_served(service, raw):
    info = service.upload(transparent(seed=206), widths="30")
    key = f"{{{info['id']}}}:stream"
    raw.setrange(key, raw.strlen(key) - 5, b"!!")
    damaged = service.metric("compass_damaged_streams_total")
    problem(service.client.get(info["url"], params={"format": "png"}), 500)
    assert service.metric("compass_damaged_streams_total") == damaged + 1
    problem(service.client.get(f"{info['url']}/stream"), 500)
    assert service.metric("compass_damaged_streams_total") == damaged + 2
    assert service.client.get(info["url"], params={"width": 30, "format": "png"}).status_code == 200
    assert service.client.delete(info["url"]).status_code == 204


def test_a_damaged_alpha_plane_is_not_served(service, raw):
    info = service.upload(transparent(seed=204), widths="30")
    raw.setrange(f"{{{info['id']}}}:alpha:0", 50, b"!!")
    problem(service.client.get(info["url"], params={"width": 30, "format": "png"}), 500)
    assert service.client.get(info["url"], params={"format": "png"}).status_code == 200
    assert service.client.delete(info["url"]).status_code == 204

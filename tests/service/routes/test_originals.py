"""Originals over HTTP, from a running service that keeps them in a bucket which fails now and then."""

from collections.abc import Iterator
from hashlib import sha256

import pytest

from service.client.api import Client, Refused
from tests.service.buckets import CREDENTIALS, Buckets
from tests.service.running import RunningService
from tests.service.samples import encoded, photo

KEY = {"Authorization": "Bearer secret"}
FILE = encoded(photo(60, 40, 7), "PNG")
DIGEST = sha256(FILE).hexdigest()


@pytest.fixture(scope="module")
def address(shared_buckets: Buckets) -> str:
    return shared_buckets.bucket()


@pytest.fixture(scope="module")
def keeping(
    shared_buckets: Buckets, address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service that keeps originals."""
    running = RunningService(
        tmp_path_factory.mktemp("keeping"),
        api_keys="secret",
        url_keys="sign",
        originals=address,
        s3_endpoint=shared_buckets.endpoint,
        object_timeout=5,
    )
    running.client.headers.update(KEY)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in CREDENTIALS.items():
            patched.setenv(name, value)
        running.start()
    yield running
    running.stop()


@pytest.fixture
def picture(keeping: RunningService, buckets: Buckets) -> str:
    return keeping.upload(FILE)["url"]


def test_an_upload_comes_back_as_it_was(keeping, picture):
    answer = keeping.client.get(f"{picture}/original")
    assert answer.status_code == 200
    assert answer.content == FILE
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    etag = answer.headers["etag"]
    assert etag == f'"{DIGEST}"'
    head = keeping.client.head(f"{picture}/original")
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "date": 0, "x-request-id": 0} == {**answer.headers, "date": 0, "x-request-id": 0}
    assert keeping.client.get(f"{picture}/original", headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        ({"Range": "bytes=10-19"}, 206, slice(10, 20)),
        ({"Range": "bytes=-5"}, 206, slice(-5, None)),
        ({"Range": "bytes=10-", "If-Range": f'"{DIGEST}"'}, 206, slice(10, None)),
        ({"Range": "bytes=10-", "If-Range": '"another"'}, 200, slice(None)),
        ({"Range": "bytes=1000000-"}, 416, slice(0)),
    ],
)
def test_a_part_of_it(keeping, picture, headers, status, part):
    answer = keeping.client.get(f"{picture}/original", headers=headers)
    assert answer.status_code == status
    if status < 300:
        assert answer.content == FILE[part]
    if status == 206:
        assert answer.headers["content-range"].endswith(f"/{len(FILE)}")


def test_only_a_key_opens_it(keeping, picture):
    signed = keeping.upload(FILE)["srcset"].split()[0].replace("?", "/original?")
    for url, headers in (
        (signed, {}),
        (f"{picture}/original", {}),
        (f"{picture}/original", {"X-API-Key": "wrong"}),
    ):
        answer = keeping.client.get(url, headers={"Authorization": "", **headers})
        assert answer.status_code in (401, 422), answer.text


@pytest.mark.parametrize(("fault", "status"), [("wrong", 500), ("cut", 503), ("error", 503), ("away", 503)])
def test_faults_are_never_served(keeping, picture, buckets, fault, status):
    damaged = keeping.metric("compass_damaged_streams_total")
    with buckets.being(fault):
        answer = keeping.client.get(f"{picture}/original")
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert keeping.client.get(picture, params={"format": "png"}).status_code == 200
    assert keeping.metric("compass_damaged_streams_total") == damaged + (fault == "wrong")
    assert keeping.client.get(f"{picture}/original").content == FILE


def test_an_upload_that_cannot_be_kept_is_not_acknowledged(keeping, buckets, address):
    file = encoded(photo(60, 40, 8), "PNG")
    with buckets.being("error"):
        answer = keeping.client.post("/images", files={"file": file})
        assert answer.status_code == 503
        assert answer.json()["title"] == "Object store unavailable"
    before = len(buckets.keys(address))
    assert keeping.client.post("/images", files={"file": file}).status_code == 201
    assert len(buckets.keys(address)) == before + 1


def test_it_goes_with_its_last_picture(keeping, buckets, address):
    file = encoded(photo(60, 40, 9), "PNG")
    key = f"originals/{sha256(file).hexdigest()}"
    one, other = (keeping.upload(file, quality=quality)["url"] for quality in (50, 60))
    assert keeping.client.delete(one).status_code == 204
    assert keeping.client.get(f"{one}/original").status_code == 404
    assert keeping.client.get(f"{other}/original").content == file
    assert keeping.client.delete(other).status_code == 204
    assert key not in buckets.keys(address)


def test_a_deletion_goes_through_though_the_bucket_is_away(keeping, buckets, address):
    file = encoded(photo(60, 40, 10), "PNG")
    picture = keeping.upload(file)["url"]
    with buckets.being("away"):
        assert keeping.client.delete(picture).status_code == 204
    assert f"originals/{sha256(file).hexdigest()}" in buckets.keys(address)
    assert "stays until the store is checked" in keeping.log


def test_a_lost_one_is_written_when_it_is_sent_again(keeping, picture, buckets, address):
    buckets.change(address, f"originals/{DIGEST}", None)
    for method in ("GET", "HEAD"):
        assert keeping.client.request(method, f"{picture}/original").status_code == 404
    assert keeping.client.post("/images", files={"file": FILE}).status_code == 200
    assert keeping.client.get(f"{picture}/original").content == FILE


def test_the_client_gets_it_with_a_key(keeping, picture):
    name = picture.rpartition("/")[2]
    with Client(keeping.url, key="secret") as client:
        assert client.original(name) == FILE
    with Client(keeping.url) as client, pytest.raises(Refused) as refused:
        client.original(name)
    assert refused.value.status == 401


def test_secrets_are_in_no_log(keeping, picture):
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in keeping.log
    for worker in keeping.workers:
        assert not {"AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"} & set(worker.environ())


def test_without_originals_there_are_none(service, stored):
    answer = service.client.get(f"{stored['url']}/original")
    assert answer.status_code == 401
    assert "has none" in answer.json()["detail"]


async def test_who_may_have_originals(serve):
    client, library = serve(api_keys="secret", url_keys="key")
    picture = library.add((50, 40)).id
    for headers, status in (({}, 401), ({"X-API-Key": "wrong"}, 401), (KEY, 404)):
        assert (await client.get(f"/images/{picture}/original", headers=headers)).status_code == status

"""Requests that were asked before: answered from memory, alike in every byte, while nothing has changed."""

import gc
import tracemalloc
from dataclasses import replace

import pytest

from service.planning.hints import NAMES
from service.web.repeats import LONGEST, key_of

SIZES = ((40, 30), (80, 60))
WEBP = {"Accept": "image/webp"}


def alike(one, other):
    """Whether two answers are the same, but for what it took to make them."""
    own = {"compass-layers-decoded", "compass-bytes-read", "x-request-id"}
    headers = [{k: v for k, v in answer.headers.items() if k not in own} for answer in (one, other)]
    return one.status_code == other.status_code and one.content == other.content and headers[0] == headers[1]


@pytest.fixture
def repeated(serve):
    """A client, its library, and the path of a picture that was asked for as WebP."""
    client, library = serve()
    return client, library, f"/images/{library.add(*SIZES).id}?width=50"


async def test_the_second_answer_is_the_first_without_being_ordered(repeated):
    client, library, path = repeated
    first = await client.get(path, headers=WEBP)
    second = await client.get(path, headers=WEBP)
    assert alike(first, second)
    assert library.orders == 1
    assert (second.headers["compass-layers-decoded"], second.headers["compass-bytes-read"]) == ("0", "0")
    assert first.headers["compass-layers-decoded"] != "0"


async def test_what_is_sent_is_counted_and_the_route_named(repeated):
    client, library, path = repeated
    for _ in range(2):
        answer = await client.get(path, headers=WEBP)
    served = library.metrics.registry.get_sample_value("compass_bytes_served_total", {"format": "webp"})
    assert served == 2 * len(answer.content)
    scope = {**request(b"width=50", accept=b"image/webp"), "raw_path": path.split("?")[0].encode()}
    assert client._transport.app.state.context.repeats.answer(scope).body == answer.content
    assert scope["route"].path == "/images/{picture}"


async def test_a_client_that_has_it_gets_304(repeated):
    client, _, path = repeated
    first = await client.get(path, headers=WEBP)
    again = [await client.get(path, headers={**WEBP, "If-None-Match": first.headers["etag"]}) for _ in "ab"]
    assert [answer.status_code for answer in again] == [304, 304]
    assert again[0].content == b""
    assert again[0].headers["cache-control"] == first.headers["cache-control"]
    assert (await client.get(path, headers={**WEBP, "If-None-Match": '"other"'})).content == first.content


async def test_remembered_requests_take_no_more_memory_than_they_may(serve):
    client, library = serve(cache_bytes=8 * 200_000)
    paths = [f"/images/{library.add(*SIZES, data=b'%d' % k).id}" for k in range(20)]
    await client.get(f"{paths[0]}?width=10", headers=WEBP)
    tracemalloc.start()
    try:
        for width in range(11, 41):
            for path in paths:
                assert (await client.get(f"{path}?width={width}", headers=WEBP)).status_code == 200
        library.forget_answers()
        gc.collect()
        assert 100_000 < tracemalloc.get_traced_memory()[0] < 600_000  # 1.1 MB without a limit
    finally:
        tracemalloc.stop()


async def test_304_is_remembered_as_well(repeated):
    client, library, path = repeated
    tag = (await client.get(path, headers=WEBP)).headers["etag"]
    name, record = library.records.popitem()
    library.records[name] = replace(record)  # as after it was read again
    repeats = client._transport.app.state.context.repeats
    asked = {**request(b"width=50", accept=b"image/webp"), "raw_path": path.split("?")[0].encode()}
    assert repeats.answer(asked) is None
    assert (await client.get(path, headers={**WEBP, "If-None-Match": tag})).status_code == 304
    assert repeats.answer(asked) is not None


async def test_another_accept_is_another_request(repeated):
    client, _, path = repeated
    types = [
        (await client.get(path, headers={"Accept": accept})).headers["content-type"]
        for accept in ("image/webp", "image/png", "image/webp")
    ]
    assert types == ["image/webp", "image/png", "image/webp"]


async def test_a_picture_that_is_gone_is_gone_at_once(repeated):
    client, library, path = repeated
    assert (await client.get(path, headers=WEBP)).status_code == 200
    (name,) = library.records
    await client.delete(f"/images/{name}")
    assert (await client.get(path, headers=WEBP)).status_code == 404


async def test_a_record_that_changed_is_looked_at_anew(repeated):
    client, library, path = repeated
    first = await client.get(path, headers=WEBP)
    (name,) = library.records
    record = library.records[name]
    library.records[name] = replace(record, facts=replace(record.facts, expires=4e9))
    second = await client.get(path, headers=WEBP)
    assert library.orders == 2
    assert first.headers["cache-control"] != second.headers["cache-control"]
    await client.get(path, headers=WEBP)
    assert library.orders == 3  # an answer that ends is not remembered


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key", "Cache-Control", "Range"])
async def test_what_depends_on_who_asks_is_not_remembered(repeated, name):
    client, library, path = repeated
    for _ in range(2):
        await client.get(path, headers={**WEBP, name: "no-store"})
    assert library.orders == 2


async def test_signed_urls_stay_closed_to_others(serve):
    client, library = serve(url_keys="key", api_keys="secret")
    path = f"/images/{library.add(*SIZES).id}"
    for _ in range(2):
        assert (await client.get(path, headers={"X-API-Key": "secret"})).status_code == 200
        assert (await client.get(path)).status_code == 403


def request(query: bytes = b"", **headers: bytes):
    raw = [(name.encode(), value) for name, value in headers.items()]
    return {"raw_path": b"/images/x", "query_string": query, "headers": raw}


def test_every_hint_tells_requests_apart() -> None:
    keys = {key_of(request())}
    for name in (*NAMES, "Accept"):
        keys.add(key_of(request(**{name.lower(): b"1"})))
    assert len(keys) == len(NAMES) + 2
    assert key_of(request(user_agent=b"x")) == key_of(request())


def test_long_requests_are_not_remembered() -> None:
    assert key_of(request(b"x" * (LONGEST - 9))) is not None
    assert key_of(request(b"x" * LONGEST)) is None

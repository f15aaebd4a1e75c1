"""From an order to a response: what each header says, with a library that holds no pixels."""

import time

import pytest

from service.client.signing import sign
from service.errors import DamagedStream, Overloaded, StoreUnavailable
from service.routes.answers import PRIVATE
from tests.service.routes.test_images import problem

SIZES = ((50, 40), (100, 80), (200, 160))
FOR_EVER = "public, max-age=31536000, immutable"


async def test_a_picture_and_what_it_took(serve):
    client, library = serve()
    record = library.add(*SIZES)
    path, asked = f"/images/{record.id}?width=60&format=webp", {"Cache-Control": "no-store"}
    answer = await client.get(path)
    assert "server-timing" not in answer.headers  # shared caches would keep it
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["cache-control"] == FOR_EVER
    assert answer.headers["compass-layer"] == "1"
    assert answer.headers["compass-layers-decoded"] == "2"
    assert answer.headers["compass-bytes-stored"] == str(record.bytes)
    assert "vary" not in answer.headers
    again = await client.get(path, headers=asked)
    assert (again.headers["server-timing"], again.headers["compass-layers-decoded"]) == ("cache", "0")
    other = await client.get(f"/images/{record.id}?width=70&format=webp", headers=asked)
    assert other.headers["server-timing"] == "queue;dur=2.00, fetch;dur=1.00, encode;dur=3.00"


async def test_what_the_client_has_is_not_made_again(serve):
    client, library = serve()
    path = f"/images/{library.add(*SIZES).id}"
    tag = (await client.head(path)).headers["etag"]
    for given in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        answer = await client.get(path, headers={"If-None-Match": given})
        assert (answer.status_code, answer.content) == (304, b"")
        assert (answer.headers["etag"], answer.headers["cache-control"]) == (tag, FOR_EVER)
    assert (await client.get(path, headers={"If-None-Match": 'W/"other"'})).status_code == 200
    assert library.orders == 1


async def test_a_head_makes_nothing(serve):
    client, library = serve()
    answer = await client.head(f"/images/{library.add(*SIZES).id}", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert (answer.headers["content-type"], answer.headers["vary"]) == ("image/png", "Accept")
    assert "content-length" not in answer.headers
    assert library.orders == 0


async def test_a_life_that_ends_bounds_what_caches_keep(serve):
    client, library = serve(url_keys="key")
    ending = library.add(*SIZES, expires=time.time() + 100)
    lasting = library.add(*SIZES[:2])

    async def control(record, seconds=None):
        path = f"/images/{record.id}"
        until = None if seconds is None else int(time.time()) + seconds
        return (await client.head(f"{path}?{sign(path, '', 'key', until)}")).headers["cache-control"]

    assert await control(lasting) == FOR_EVER
    for record, seconds, most in (
        (ending, None, 100),
        (lasting, 50, 50),
        (ending, 50, 50),
        (ending, 500, 100),
    ):
        found = await control(record, seconds)
        assert most - 5 <= int(found.removeprefix("public, max-age=")) <= most


async def test_how_long_caches_keep_it_can_be_set(serve):
    client, library = serve(max_age=60)
    answer = await client.head(f"/images/{library.add(*SIZES).id}")
    assert answer.headers["cache-control"] == "public, max-age=60, immutable"


async def test_what_only_a_key_opens_is_for_its_holder(serve):
    client, library = serve(url_keys="key", api_keys="secret")
    path = f"/images/{library.add(*SIZES).id}"
    problem(await client.get(path), 403)
    assert (await client.get(path, headers={"X-API-Key": "secret"})).headers["cache-control"] == PRIVATE


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (Overloaded("full", retry_after=2.1), 429, "3"),
        (StoreUnavailable("gone", retry_after=0.2), 503, "1"),
        (DamagedStream("bad"), 500, None),
    ],
)
async def test_errors_of_the_library_are_problems(serve, error, status, after):
    client, library = serve()
    path = f"/images/{library.add(*SIZES).id}"
    library.failure = error
    answer = await client.get(path)
    assert problem(answer, status)["detail"] == error.detail
    assert answer.headers.get("retry-after") == after
    assert (await client.get(path)).status_code == 200


HINTS = {"Sec-CH-DPR": "2", "Sec-CH-Width": "60", "Save-Data": "on", "Accept": "image/webp"}


async def test_hints_count_where_the_settings_say_so(serve):
    client, library = serve(client_hints=True)
    path = f"/images/{library.add(*SIZES).id}"

    async def asked(query="", **headers):
        answer = await client.get(path + query, headers=headers or HINTS)
        plan = answer.json()
        return tuple(plan["size"]), plan["quality"], answer.headers.get("vary")

    plain = (await asked("?format=webp&width=200&dpr=1&q=50"))[1]
    assert plain == 50
    size, saving, vary = await asked()
    assert (size, vary) == ((48, 60), "Accept, Sec-CH-Width, Save-Data")
    size, usual, vary = await asked(Accept="image/webp")
    assert (size, vary) == ((160, 200), "Accept, Sec-CH-Width, Save-Data")
    assert saving < usual
    assert await asked("?width=30&q=9") == ((48, 60), 9, "Accept, Sec-CH-DPR")
    assert await asked("?width=30&dpr=1&q=9&format=webp") == ((24, 30), 9, None)


async def test_otherwise_hints_are_nothing(serve):
    client, library = serve()
    answer = await client.get(f"/images/{library.add(*SIZES).id}", headers=HINTS)
    assert (answer.json()["size"], answer.headers["vary"]) == ([160, 200], "Accept")


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("width=30&dpr=2&fit=contain", "width=60&format=webp"),
        ("format=webp&width=60", "width=60&format=webp"),
        ("q=7&height=48", "width=60&format=webp&q=7"),
        ("format=png&q=7", "format=png"),
        ("format=jpg&background=ff0000", "format=jpeg"),
    ],
)
async def test_an_answer_names_its_preferred_url(serve, query, canonical):
    client, library = serve(public_url="https://img.example.org/")
    record = library.add(*SIZES)
    first = await client.get(f"/images/{record.id}?{query}", headers={"Accept": "image/webp"})
    link = f"https://img.example.org/images/{record.id}?{canonical}"
    assert first.headers["link"] == f'<{link}>;rel="canonical"'
    again = await client.get(f"/images/{record.id}?{canonical}")
    assert (again.headers["etag"], again.content) == (first.headers["etag"], first.content)
    assert "vary" not in again.headers

"""What is compressed, what is left alone, and the tags of both."""

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from service.routes import page
from service.web.compression import Compressed

FILE = "/static/kit/package.json"
PLAIN = (page.FOLDER / "kit" / "package.json").read_bytes()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette()
    app.mount("/static", page.files)
    transport = httpx.ASGITransport(Compressed(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


async def test_a_part_of_a_file_is_not_compressed(client: httpx.AsyncClient) -> None:
    part = await client.get(FILE, headers={"Range": "bytes=0-599", "Accept-Encoding": "gzip"})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes 0-599/{len(PLAIN)}"
    assert "content-encoding" not in part.headers
    assert part.content == PLAIN[:600]


async def test_both_forms_of_a_file_have_tags_of_their_own(client: httpx.AsyncClient) -> None:
    plain = await client.get(FILE, headers={"Accept-Encoding": "identity"})
    async with client.stream("GET", FILE, headers={"Accept-Encoding": "gzip"}) as packed:
        assert gzip.decompress(b"".join([part async for part in packed.aiter_raw()])) == PLAIN
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] == f"W/{plain.headers['etag']}"
    for tag in (plain.headers["etag"], packed.headers["etag"]):
        again = await client.get(FILE, headers={"If-None-Match": tag, "Accept-Encoding": "gzip"})
        assert again.status_code == 304


async def test_a_compressed_form_is_not_continued_with_the_plain_one(client: httpx.AsyncClient) -> None:
    packed = await client.get(FILE, headers={"Accept-Encoding": "gzip"})
    rest = {"Range": "bytes=600-", "If-Range": packed.headers["etag"], "Accept-Encoding": "gzip"}
    assert (await client.get(FILE, headers=rest)).status_code == 200

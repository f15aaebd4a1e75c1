"""Bodies: what is taken, what is refused, and how early."""

import asyncio

import pytest
from fastapi import Request

from service.errors import BadRequest, PictureTooLarge, RequestTimeout, UnsupportedPicture
from service.web.connection import ClientGone
from service.web.uploads import Incoming

LIMIT = 100
FORM = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n\r\n%s\r\n--x--\r\n'
MULTIPART = "multipart/form-data; boundary=x"


class Body:
    """A request whose body comes in parts, of which ``taken`` counts those that were asked for.

    After them it ``ends``: it is "whole", or "stalls", or the client "leaves".
    """

    def __init__(
        self, *parts: bytes, media: str = "", length: int | None = None, ends: str = "whole"
    ) -> None:
        headers = [(b"content-type", media.encode())] if media else []
        headers += [] if length is None else [(b"content-length", str(length).encode())]
        self.taken = 0
        self.request = Request({"type": "http", "method": "POST", "headers": headers}, self._receive)
        self._parts = list(parts)
        self._ends = ends

    async def _receive(self) -> dict[str, object]:
        self.taken += 1
        if self._parts:
            part = self._parts.pop(0)
            more = bool(self._parts) or self._ends != "whole"
            return {"type": "http.request", "body": part, "more_body": more}
        if self._ends == "stalls":
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def read(self, seconds: float = 5) -> bytes:
        """The upload."""
        incoming = Incoming(room=10**6, max_bytes=LIMIT, seconds=seconds, min_rate=1, window=60)
        async with incoming.body(self.request) as data:
            return data


@pytest.mark.parametrize("media", ["", "image/png", "image/x", "application/octet-stream", "IMAGE/PNG; a=b"])
async def test_a_raw_body_is_the_picture(media: str) -> None:
    assert await Body(b"one", b"two", media=media).read() == b"onetwo"


async def test_the_field_of_a_form_is_the_picture() -> None:
    form = FORM % (b"file", b"picture")
    assert await Body(form[:20], form[20:], media=MULTIPART).read() == b"picture"


@pytest.mark.parametrize("media", ["text/html", "application/json", "multipart/mixed"])
async def test_other_kinds_are_refused_before_anything_is_read(media: str) -> None:
    body = Body(b"x", media=media)
    with pytest.raises(UnsupportedPicture):
        await body.read()
    assert body.taken == 0


async def test_what_is_announced_too_large_is_refused_before_anything_is_read() -> None:
    body = Body(b"x", length=LIMIT + 1)
    with pytest.raises(PictureTooLarge):
        await body.read()
    assert body.taken == 0


async def test_what_grows_too_large_is_refused_where_it_does() -> None:
    body = Body(*[b"x" * 60] * 10)
    with pytest.raises(PictureTooLarge):
        await body.read()
    assert body.taken == 2
    with pytest.raises(PictureTooLarge):  # the frame of the form is not counted, the file is
        await Body(FORM % (b"file", b"x" * (LIMIT + 1)), media=MULTIPART).read()
    assert len(await Body(FORM % (b"file", b"x" * LIMIT), media=MULTIPART).read()) == LIMIT


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"", ""),
        (FORM % (b"file", b""), MULTIPART),
        (FORM % (b"other", b"x"), MULTIPART),
        (b"rubbish", MULTIPART),
    ],
)
async def test_a_body_without_a_picture(body: bytes, media: str) -> None:
    with pytest.raises(BadRequest):
        await Body(body, media=media).read()


async def test_a_form_in_a_charset_that_decodes_nothing() -> None:
    form = FORM.replace(b'filename="a"', b'filename="\xff\xfe-\xff"') % (b"file", b"picture")
    with pytest.raises(BadRequest):
        await Body(form, media=f"{MULTIPART}; charset=undefined").read()


async def test_a_body_that_stops_is_given_up() -> None:
    with pytest.raises(RequestTimeout):
        await Body(b"x", ends="stalls").read(0.05)


async def test_a_client_that_leaves_is_no_error_of_ours() -> None:
    with pytest.raises(ClientGone):
        await Body(b"x", ends="leaves").read()

"""Reading an upload's body with its limits enforced while it arrives."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from service.errors import BadRequest, Overloaded, PictureTooLarge, RequestTimeout, UnsupportedPicture
from service.settings import Settings
from service.web.connection import ClientGone

FIELD = "file"
MULTIPART = "multipart/form-data"
_FORM_OVERHEAD = 16 * 1024


class _InMemoryParser(MultiPartParser):
    """The file goes to a worker whole anyway: no detour over a temporary file."""

    spool_max_size = 2**40


class Incoming:
    """Bodies of uploads, from their first byte until they are done with: together at most ``room`` bytes.

    A body has at most ``max_bytes``, takes at most ``seconds`` to arrive, and brings at least ``min_rate``
    bytes a second, seen over ``window`` seconds.
    """

    def __init__(self, room: int, max_bytes: int, seconds: float, min_rate: float, window: float) -> None:
        self._room = room
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._least = min_rate * window
        self._window = window

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The bytes of the picture, from the form field ``file`` or the raw body, counted while in use.

        Raises PictureTooLarge as soon as more than ``max_bytes`` are announced or have come, RequestTimeout
        for a slow one, Overloaded if there is no room, ClientGone, BadRequest or UnsupportedPicture.
        """
        media = request.headers.get("content-type", "").split(";")[0].strip().lower()
        form = media == MULTIPART
        if not form and media and not media.startswith("image/") and media != "application/octet-stream":
            raise UnsupportedPicture(f"send {MULTIPART} or an image/* body, not {media}")
        limit = self._max_bytes + _FORM_OVERHEAD if form else self._max_bytes
        if _announced(request) > limit:
            raise PictureTooLarge(f"the limit is {self._max_bytes} bytes")
        with self._space() as take:
            chunks = self._chunks(request, limit, take)
            try:
                async with asyncio.timeout(self._seconds):
                    data = await (_file_field(request, chunks) if form else _joined(chunks))
            except ClientDisconnect as error:
                raise ClientGone from error
            except TimeoutError as error:
                raise RequestTimeout(f"the body did not arrive within {self._seconds:g} s") from error
            if len(data) > self._max_bytes:
                raise PictureTooLarge(f"the limit is {self._max_bytes} bytes")
            if not data:
                raise BadRequest("the upload is empty")
            yield data

    @contextmanager
    def _space(self) -> Iterator[Callable[[int], None]]:
        """Gives what takes so many bytes of the room, or raises Overloaded; all are given back at the end."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if size > self._room:
                raise Overloaded("too many bytes of uploads at once")
            taken += size
            self._room -= size

        try:
            yield take
        finally:
            self._room += taken

    async def _chunks(
        self, request: Request, limit: int, take: Callable[[int], None]
    ) -> AsyncGenerator[bytes, None]:
        clock = asyncio.get_running_loop().time
        stream = aiter(request.stream())
        size, due, until = 0, self._least, clock() + self._window
        while True:
            try:
                async with asyncio.timeout_at(until):
                    chunk = await anext(stream, None)
            except TimeoutError as error:
                rate = self._least / self._window
                raise RequestTimeout(f"the body came at less than {rate:g} bytes a second") from error
            if chunk is None:
                return
            size += len(chunk)
            if size > limit:
                raise PictureTooLarge(f"the limit is {self._max_bytes} bytes")
            take(len(chunk))
            if size >= due:
                due, until = size + self._least, clock() + self._window
            yield chunk


def incoming_of(settings: Settings) -> Incoming:
    """With the settings' limits."""
    return Incoming(
        room=settings.max_uploads * settings.max_upload_bytes,
        max_bytes=settings.max_upload_bytes,
        seconds=settings.upload_seconds,
        min_rate=settings.min_rate,
        window=settings.stall_seconds,
    )


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


async def _joined(chunks: AsyncGenerator[bytes, None]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def _file_field(request: Request, chunks: AsyncGenerator[bytes, None]) -> bytes:
    parser = _InMemoryParser(request.headers, chunks, max_files=1, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(
            f"{error.message} The form has one field, {FIELD}; parameters go into the query."
        ) from error
    except UnicodeError as error:
        raise BadRequest("the names in the form are not in the charset that it says") from error
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise BadRequest(f"the form has no file field {FIELD}")
        return await file.read()
    finally:
        await form.close()

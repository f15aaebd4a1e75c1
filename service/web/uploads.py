"""Reading an upload's body with its limits enforced while it arrives."""

import asyncio
from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from service.errors import BadRequest, PictureTooLarge, RequestTimeout, UnsupportedPicture
from service.web.connection import ClientGone

FIELD = "file"
MULTIPART = "multipart/form-data"
_FORM_OVERHEAD = 16 * 1024


class _InMemoryParser(MultiPartParser):
    """The file goes to a worker whole anyway: no detour over a temporary file."""

    spool_max_size = 2**40


async def read_upload(request: Request, max_bytes: int, seconds: float) -> bytes:
    """The picture's bytes, from the form field ``file`` or the raw body.

    Raises PictureTooLarge as soon as more than ``max_bytes`` are announced or have come,
    RequestTimeout after ``seconds``, ClientGone, BadRequest or UnsupportedPicture.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    form = media == MULTIPART
    if not form and media and not media.startswith("image/") and media != "application/octet-stream":
        raise UnsupportedPicture(f"send {MULTIPART} or an image/* body, not {media}")
    limit = max_bytes + _FORM_OVERHEAD if form else max_bytes
    if _announced(request) > limit:
        raise PictureTooLarge(f"the limit is {max_bytes} bytes")
    try:
        async with asyncio.timeout(seconds):
            data = await (_file_field(request, limit) if form else _raw(request, limit))
    except ClientDisconnect as error:
        raise ClientGone from error
    except TimeoutError as error:
        raise RequestTimeout(f"the body did not arrive within {seconds:g} s") from error
    if len(data) > max_bytes:
        raise PictureTooLarge(f"the limit is {max_bytes} bytes")
    if not data:
        raise BadRequest("the upload is empty")
    return data


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


async def _limited(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise PictureTooLarge(f"the limit is {limit} bytes")
        yield chunk


async def _raw(request: Request, limit: int) -> bytes:
    return b"".join([chunk async for chunk in _limited(request, limit)])


async def _file_field(request: Request, limit: int) -> bytes:
    parser = _InMemoryParser(request.headers, _limited(request, limit), max_files=1, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(
            f"{error.message} The form has one field, {FIELD}; parameters go into the query."
        ) from error
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise BadRequest(f"the form has no file field {FIELD}")
        return await file.read()
    finally:
        await form.close()

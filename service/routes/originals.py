"""The route that gives an upload back as it came, where it is kept."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from service.planning.formats import MEDIA_TYPES
from service.routes.answers import PRIVATE, StoredBytes, respond_with_bytes
from service.routes.parameters import PictureId
from service.web.connection import while_connected
from service.web.context import ServiceContext, may_have_originals
from service.web.problems import documented

router = APIRouter(tags=["pictures"])

UNKNOWN_TYPE = "application/octet-stream"
_TYPES = MEDIA_TYPES | {"tiff": "image/tiff", "bmp": "image/bmp", "gif": "image/gif", "heif": "image/heif"}
"""Media types of uploads by Pillow's names of their formats, in small letters."""

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ORIGINAL: dict[int | str, dict[str, Any]] = {
    200: {"description": "The upload", "content": dict.fromkeys((*_TYPES.values(), UNKNOWN_TYPE), _BINARY)},
    206: {"description": "The wanted range of it", "content": {UNKNOWN_TYPE: _BINARY}},
    304: {"description": "The client's copy is still right"},
    **documented(401, 404, 416, 422, 500, 503),
}


@router.head(
    "/images/{picture}/original",
    response_class=Response,
    summary="Headers of the upload",
    operation_id="original_headers",
    dependencies=[Depends(may_have_originals)],
    responses=_ORIGINAL,
)
@router.get(
    "/images/{picture}/original",
    response_class=Response,
    summary="The upload as it came",
    operation_id="original",
    dependencies=[Depends(may_have_originals)],
    responses=_ORIGINAL,
)
async def original(request: Request, context: ServiceContext, picture: PictureId) -> Response:
    """With all its metadata, so only for holders of an API key, and only where the service keeps uploads.
    Its checksum is verified before its first byte is sent."""
    record = await context.library.with_original(picture)
    media_type = _TYPES.get(record.facts.source_format.lower(), UNKNOWN_TYPE)
    stored = StoredBytes(
        record.facts.source_bytes,
        f'"{record.facts.original}"',
        media_type,
        "original",
        lambda: while_connected(request, context.library.original(record)),
    )
    return await respond_with_bytes(request, context, stored, PRIVATE)

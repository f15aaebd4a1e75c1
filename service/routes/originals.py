"""The route that gives an upload back as it came, where it is kept."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from service.planning.formats import MEDIA_TYPES
from service.routes.answers import PRIVATE
from service.routes.parameters import PictureId
from service.web.conditional import Unsatisfiable, matches, requested_span
from service.web.connection import while_connected
from service.web.context import ServiceContext, may_have_originals
from service.web.problems import documented
from service.web.problems import response as problem
from service.web.sending import BodyResponse

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
    etag, size = f'"{record.facts.original}"', record.facts.source_bytes
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": PRIVATE}
    if matches(etag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    try:
        span = requested_span(size, etag, request.headers.get("range"), request.headers.get("if-range"))
    except Unsatisfiable:
        detail = f"the upload has {size} bytes"
        return problem(416, "Range not satisfiable", detail, {"Content-Range": f"bytes */{size}"})
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(size)}, media_type=media_type)
    body, status = await while_connected(request, context.library.original(record)), 200
    if span is not None:
        body, status = body[span.start : span.end], 206
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    return BodyResponse(body, context.outgoing, status, headers, media_type)

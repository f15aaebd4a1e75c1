"""Routes that give pictures back: rendered at a size, or as the stored stream."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from model.stream.container import Header
from service.errors import BadParameter, NotFound
from service.library import Answer, Order
from service.planning.identity import stream_tag
from service.planning.sizing import choose
from service.routes.images import PRIVATE, PictureId
from service.routes.parameters import PictureParameters, StreamParameters
from service.storage.store import Record
from service.web.access import seconds_valid
from service.web.conditional import Unsatisfiable, matches, requested_span
from service.web.connection import while_connected
from service.web.context import Context, Here, may_read, readable_by_all
from service.web.problems import documented
from service.web.problems import response as problem
from service.worker.imagefile import MEDIA_TYPES

router = APIRouter(tags=["pictures"])

STREAM_TYPE = "application/vnd.compass"
STAGES = ("queue", "fetch", "priors", "entropy", "synthesis", "prediction", "resize", "encode")

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture", "content": dict.fromkeys(MEDIA_TYPES.values(), _BINARY)},
    304: {"description": "The client's copy is still right"},
    **documented(403, 404, 406, 422, 429, 500, 503),
}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "The stream, or its first layers", "content": {STREAM_TYPE: _BINARY}},
    206: {"description": "The wanted range of it", "content": {STREAM_TYPE: _BINARY}},
    304: {"description": "The client's copy is still right"},
    **documented(403, 404, 416, 422, 500, 503),
}


@router.head(
    "/images/{picture}",
    response_class=Response,
    summary="Headers of a picture, without decoding it",
    operation_id="picture_headers",
    dependencies=[Depends(may_read)],
    responses=_PICTURE,
)
@router.get(
    "/images/{picture}",
    response_class=Response,
    summary="A picture at any size",
    operation_id="picture",
    dependencies=[Depends(may_read)],
    responses=_PICTURE,
)
async def picture_at_size(
    request: Request, here: Here, picture: PictureId, parameters: Annotated[PictureParameters, Query()]
) -> Response:
    """Only the layers that the size needs are read and decoded. Never larger than the original,
    unless `upscale` is set."""
    record = await here.library.find(picture)
    order = here.library.order(
        record,
        parameters.wanted(),
        request.headers.get("accept"),
        parameters.output(),
        parameters.q,
        "#" + parameters.background.lower().removeprefix("#"),
    )
    headers = picture_headers(request, here, order)
    return await respond(request, here, order, headers)


async def respond(request: Request, here: Context, order: Order, headers: dict[str, str]) -> Response:
    """Answer an order: 304 or the headers alone where that suffices, else the picture."""
    if matches(order.etag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        head = Response(headers=headers, media_type=order.media_type)
        del head.headers["Content-Length"]  # GET's is not known before the picture is made
        return head
    answer, cached = await while_connected(request, here.library.answer(order))
    here.metrics.bytes_served.labels(order.job.format).inc(len(answer.picture.body))
    headers |= _story(answer, cached)
    return Response(answer.picture.body, headers=headers, media_type=answer.picture.media_type)


def picture_headers(request: Request, here: Context, order: Order) -> dict[str, str]:
    """Headers that are known before anything is decoded."""
    headers = {
        "ETag": order.etag,
        "Cache-Control": _cache_control(request, here, order.record),
        "Compass-Layer": str(order.job.layer),
        "Compass-Bytes-Stored": str(order.record.bytes),
    }
    if order.negotiated:
        headers["Vary"] = "Accept"
    return headers


def _cache_control(request: Request, here: Context, record: Record) -> str:
    """Pictures never change, but they and signed URLs may end; what a key opened is for its holder."""
    if not readable_by_all(request, here):
        return PRIVATE
    max_age = here.settings.max_age
    expires, url_valid = record.facts.expires, seconds_valid(request.url.query)
    if expires is None and url_valid is None:
        return f"public, max-age={max_age}, immutable"
    picture_valid = max_age if expires is None else max(0, int(expires - time.time()))
    return f"public, max-age={min(max_age, picture_valid, max_age if url_valid is None else url_valid)}"


def _story(answer: Answer, cached: bool) -> dict[str, str]:
    """What it took to make this answer; nothing if it was in memory."""
    if cached:
        return {"Server-Timing": "cache", "Compass-Layers-Decoded": "0", "Compass-Bytes-Read": "0"}
    known = [stage for stage in STAGES if stage in answer.seconds]
    others = [stage for stage in answer.seconds if stage not in STAGES]
    timing = ", ".join(f"{stage};dur={1000 * answer.seconds[stage]:.2f}" for stage in [*known, *others])
    return {
        "Server-Timing": timing,
        "Compass-Layers-Decoded": str(answer.picture.layers_decoded),
        "Compass-Bytes-Read": str(answer.bytes_read),
    }


@router.head(
    "/images/{picture}/stream",
    response_class=Response,
    summary="Headers of the stored stream",
    operation_id="stream_headers",
    dependencies=[Depends(may_read)],
    responses=_STREAM,
)
@router.get(
    "/images/{picture}/stream",
    response_class=Response,
    summary="The stored stream, or its first layers",
    operation_id="stream",
    dependencies=[Depends(may_read)],
    responses=_STREAM,
)
async def stream(
    request: Request, here: Here, picture: PictureId, parameters: Annotated[StreamParameters, Query()]
) -> Response:
    """Any prefix that ends with a layer is a valid smaller stream: to get from one width to a larger
    one, ask for the missing bytes with Range."""
    record = await here.library.find(picture)
    layer = _last_layer(record.header, parameters)
    size = record.header.layers[layer].end
    etag = stream_tag(record.header, layer)
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": _cache_control(request, here, record),
    }
    if matches(etag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(size)}, media_type=STREAM_TYPE)
    try:
        span = requested_span(size, etag, request.headers.get("range"), request.headers.get("if-range"))
    except Unsatisfiable:
        detail = f"the stream has {size} bytes"
        return problem(416, "Range not satisfiable", detail, {"Content-Range": f"bytes */{size}"})
    body = await here.store.prefix(record, layer)
    status = 200
    if span is not None:
        body, status = body[span.start : span.end], 206
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    here.metrics.bytes_served.labels("compass").inc(len(body))
    return Response(body, status, headers, media_type=STREAM_TYPE)


def _last_layer(header: Header, parameters: StreamParameters) -> int:
    if parameters.layer is not None and parameters.width is not None:
        raise BadParameter("layer excludes width")
    if parameters.layer is not None:
        if parameters.layer >= len(header.layers):
            raise NotFound(f"layer {parameters.layer}: this picture has 0 to {len(header.layers) - 1}")
        return parameters.layer
    if parameters.width is not None:
        return choose([(entry.width, entry.height) for entry in header.layers], (parameters.width, 1))
    return len(header.layers) - 1

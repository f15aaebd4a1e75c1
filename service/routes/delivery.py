"""Routes that give pictures back: rendered at a size, or as the stored stream."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from model.geometry import Size
from model.stream.container import Header
from service.errors import BadParameter, NotFound, NotOffered
from service.library import Order
from service.messages.plans import WHITE
from service.planning.canonical import canonical_query
from service.planning.formats import MEDIA_TYPES
from service.planning.identity import stream_tag
from service.planning.quality import QualityWish
from service.planning.sizing import View, choose, choose_view
from service.routes.answers import (
    StoredBytes,
    cache_control,
    of_one_stream,
    picture_headers,
    respond,
    respond_with_bytes,
)
from service.routes.parameters import PictureId, PictureParameters, StreamParameters, usual_focus
from service.storage.records import Point
from service.web.context import Context, ServiceContext, Trusted, may_read, may_see_all
from service.web.problems import documented

router = APIRouter(tags=["pictures"])

STREAM_TYPE = "application/vnd.compass"

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
    request: Request,
    context: ServiceContext,
    trusted: Trusted,
    picture: PictureId,
    parameters: Annotated[PictureParameters, Query()],
) -> Response:
    """Only the layers that the size needs are read and decoded. Never larger than the original,
    unless `upscale` is set."""

    shown = parameters.with_preset(context.presets)
    restricted = context.settings.presets_only and not trusted

    async def answer() -> Response:
        record = await context.library.find(picture)
        if restricted and not parameters.is_offered(record.widths):
            raise NotOffered("without a key: a preset, the width of a layer, or the whole picture")
        hinting = context.settings.client_hints and not restricted
        hints = shown.hinted(request.headers if hinting else None)
        focus = shown.focus_in(record.facts)
        order = context.library.order(
            record,
            choose_view(record.header.sizes, replace(hints.wanted, focus=focus)),
            shown.output(),
            request.headers.get("accept"),
            QualityWish(shown.q, hints.saving),
            shown.finish(),
        )
        headers = picture_headers(request, context, order, hints.vary)
        headers |= _canonical_link(context, order, shown.q, focus)
        return await respond(request, context, order, headers)

    return await of_one_stream(answer)


@router.head(
    "/images/{picture}/stream",
    response_class=Response,
    summary="Headers of the stored stream",
    operation_id="stream_headers",
    dependencies=[Depends(may_read), Depends(may_see_all)],
    responses=_STREAM,
)
@router.get(
    "/images/{picture}/stream",
    response_class=Response,
    summary="The stored stream, or its first layers",
    operation_id="stream",
    dependencies=[Depends(may_read), Depends(may_see_all)],
    responses=_STREAM,
)
async def stream(
    request: Request,
    context: ServiceContext,
    picture: PictureId,
    parameters: Annotated[StreamParameters, Query()],
) -> Response:
    """Any prefix that ends with a layer is a valid smaller stream: to get from one width to a larger
    one, ask for the missing bytes with Range."""

    async def answer() -> Response:
        record = await context.library.find(picture)
        layer = _last_layer(record.header, parameters)
        stored = StoredBytes(
            record.header.layers[layer].end,
            stream_tag(record.header, layer),
            STREAM_TYPE,
            "compass",
            lambda: context.store.prefix(record, layer),
        )
        return await respond_with_bytes(request, context, stored, cache_control(request, context, record))

    return await of_one_stream(answer)


def _canonical_link(
    context: Context, order: Order, quality: int | None, focus: Point | None
) -> dict[str, str]:
    """The header that names the preferred URL of an answer, where there is one."""
    plan = order.plan
    background = None if plan.background == WHITE else plan.background  # white too where none would show
    view = View(plan.layer, plan.size, plan.crop)
    quality = None if plan.format == "png" else quality
    query = canonical_query(
        order.record.header.sizes,
        view,
        plan.format,
        quality,
        background,
        usual_focus(order.record.facts),
        focus,
    )
    if query is None:
        return {}
    url = f"{context.settings.public_url.rstrip('/')}/images/{order.record.id}"
    return {"Link": f'<{url}?{query}>;rel="canonical"'}


def _last_layer(header: Header, parameters: StreamParameters) -> int:
    if parameters.layer is not None and parameters.width is not None:
        raise BadParameter("layer excludes width")
    if parameters.layer is not None:
        if parameters.layer >= len(header.layers):
            raise NotFound(f"layer {parameters.layer}: this picture has 0 to {len(header.layers) - 1}")
        return parameters.layer
    if parameters.width is not None:
        return choose(header.sizes, Size(1, parameters.width))
    return len(header.layers) - 1

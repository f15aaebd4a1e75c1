"""From an order to a response: 304, HEAD, body, headers."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import Request, Response

from service.errors import Replaced
from service.library import FinishedOrder, Order
from service.storage.records import Record
from service.web.access import seconds_valid, signed_target
from service.web.conditional import Unsatisfiable, matches, requested_span
from service.web.connection import while_connected
from service.web.context import Context, readable_by_all
from service.web.problems import response as problem
from service.web.repeats import FROM_MEMORY
from service.web.sending import BodyResponse

UNKEPT = "private, no-store"
"""Cache-Control of an answer to whoever asks that no cache keep it: it tells what it took to make it."""
PRIVATE = "private, no-cache"
"""Cache-Control of what only the client itself may keep, if it asks each time whether it is still right."""
_TIMING = "Server-Timing"
STAGES = ("queue", "fetch", "priors", "entropy", "synthesis", "prediction", "resize", "encode")
"""Stages of the work in the order in which Server-Timing names them."""

_TRIES = 3
"""A refined stream takes the place of the first once in a picture's life, or twice."""


async def of_one_stream(answer: Callable[[], Awaitable[Response]]) -> Response:
    """What ``answer`` makes of a picture, begun anew if a refined stream took the place of the one that it
    had begun with: so tag, length and body are of one stream.
    """
    for _ in range(_TRIES - 1):
        try:
            return await answer()
        except Replaced:
            continue
    return await answer()


@dataclass(frozen=True)
class StoredBytes:
    """Bytes that are given out as they are stored, or a range of them: how many, their entity tag and media
    type, what the metrics call them, and what reads them all.
    """

    size: int
    etag: str
    media_type: str
    name: str
    read: Callable[[], Awaitable[bytes]]


async def respond_with_bytes(
    request: Request, context: Context, stored: StoredBytes, cache_control: str
) -> Response:
    """Answer with stored bytes, which are read only where 304, 416 or the headers alone do not suffice."""
    size, etag = stored.size, stored.etag
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": cache_control}
    if matches(etag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(size)}, media_type=stored.media_type)
    try:
        span = requested_span(size, etag, request.headers.get("range"), request.headers.get("if-range"))
    except Unsatisfiable:
        detail = f"there are {size} bytes"
        return problem(416, "Range not satisfiable", detail, {"Content-Range": f"bytes */{size}"})
    body, status = await stored.read(), 200
    if span is not None:
        body, status = body[span.start : span.end], 206
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    context.metrics.bytes_served.labels(stored.name).inc(len(body))
    return BodyResponse(body, context.outgoing, status, headers, stored.media_type)


async def respond(request: Request, context: Context, order: Order, headers: dict[str, str]) -> Response:
    """Answer an order: 304 or the headers alone where that suffices, else the picture."""
    if request.method == "GET":
        context.repeats.remember(request, order, headers)
    if matches(order.etag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        head = Response(headers=headers, media_type=order.media_type)
        del head.headers["Content-Length"]  # GET's is not known before the picture is made
        return head
    answer, cached = await while_connected(request, context.library.answer(order))
    context.metrics.bytes_served.labels(order.plan.format).inc(len(answer.picture.body))
    making = _making_headers(answer, cached)
    if not headers["Cache-Control"].startswith("private"):  # a cache would tell for a year what it took once
        del making[_TIMING]
    picture = answer.picture
    return BodyResponse(
        picture.body, context.outgoing, headers={**headers, **making}, media_type=picture.media_type
    )


def picture_headers(
    request: Request, context: Context, order: Order, vary: Sequence[str] = ()
) -> dict[str, str]:
    """Headers that are known before anything is decoded; ``vary`` names headers that decided with the URL."""
    headers = {
        "ETag": order.etag,
        "Cache-Control": cache_control(request, context, order.record),
        "Compass-Layer": str(order.plan.layer),
        "Compass-Bytes-Stored": str(order.record.bytes),
    }
    deciding = (*(["Accept"] if order.negotiated else []), *vary)
    if deciding:
        headers["Vary"] = ", ".join(deciding)
    return headers


def cache_control(request: Request, context: Context, record: Record) -> str:
    """Pictures never change, but they and signed URLs may end; what a key opened is for its holder."""
    if "no-store" in request.headers.get("cache-control", "").lower():
        return UNKEPT
    if not readable_by_all(request, context):
        return PRIVATE
    max_age = context.settings.max_age
    expires, url_valid = record.facts.expires, seconds_valid(signed_target(request)[1])
    if expires is None and url_valid is None:
        return f"public, max-age={max_age}, immutable"
    picture_valid = max_age if expires is None else max(0, int(expires - time.time()))
    return f"public, max-age={min(max_age, picture_valid, max_age if url_valid is None else url_valid)}"


def _making_headers(answer: FinishedOrder, cached: bool) -> dict[str, str]:
    """What it took to make this answer; nothing if it was in memory."""
    if cached:
        return {_TIMING: "cache", **FROM_MEMORY}
    known = [stage for stage in STAGES if stage in answer.seconds]
    others = [stage for stage in answer.seconds if stage not in STAGES]
    timing = ", ".join(f"{stage};dur={1000 * answer.seconds[stage]:.2f}" for stage in [*known, *others])
    return {
        _TIMING: timing,
        "Compass-Layers-Decoded": str(answer.picture.layers_decoded),
        "Compass-Bytes-Read": str(answer.bytes_read),
    }

"""Requests that were answered a moment ago: answered again from memory, without being understood again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.cache import BoundedCache
from service.library import Library, Order
from service.planning.hints import NAMES
from service.web.conditional import matches
from service.web.sending import BodyResponse, Outgoing

ENTRY_BYTES = 1536
"""What a remembered request takes beside the strings of its key and headers."""
LONGEST = 1024
"""Bytes of a request's target and deciding headers together, beyond which it is not remembered."""
FROM_MEMORY = {"Compass-Layers-Decoded": "0", "Compass-Bytes-Read": "0"}
"""Headers that tell what it took to make an answer that was in memory, to caches as well."""

_DECIDING = tuple(name.lower().encode() for name in ("Accept", *NAMES))
_PERSONAL = frozenset({b"authorization", b"x-api-key", b"cache-control", b"range"})

Key = tuple[bytes, ...]
"""The target of a request as the client sent it, and the headers that its answer depends on."""


def key_of(scope: Scope) -> Key | None:
    """What a request asks for; None for one whose answer depends on who asks, or is too long to remember."""
    deciding: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _PERSONAL:
            return None
        deciding.setdefault(name, value)
    key = (
        scope["raw_path"],
        scope["query_string"],
        *(deciding.get(name, b"") for name in _DECIDING),
    )
    return key if sum(map(len, key)) <= LONGEST else None


@dataclass(frozen=True)
class Repeat:
    """The order that requests of one kind come to, and the headers that every answer to it has.

    ``route`` is the route that understood it, which the metrics name.
    """

    order: Order
    headers: Mapping[str, str]
    route: object

    def weight(self, key: Key) -> int:
        """Bytes of memory that it takes under that key, about."""
        strings = sum(len(name) + len(value) for name, value in self.headers.items())
        return ENTRY_BYTES + sum(map(len, key)) + strings


class Repeats:
    """The requests remembered by one running service.

    One is remembered only where its answer is the same for everybody and has no end; and it counts only while
    the picture's record is the one that its order was made from.
    """

    def __init__(self, library: Library, outgoing: Outgoing, limit: int) -> None:
        """``limit`` is in bytes of memory: those seen last are remembered."""
        self._library = library
        self._outgoing = outgoing
        self._known: BoundedCache[Key, Repeat] = BoundedCache(limit)

    def remember(self, request: Request, order: Order, headers: Mapping[str, str]) -> None:
        """Remember how a request was understood; ``headers`` are those that every answer to it has."""
        key = key_of(request.scope)
        if key is not None and headers["Cache-Control"].endswith("immutable"):
            repeat = Repeat(order, dict(headers), request.scope["route"])
            self._known.put(key, repeat, repeat.weight(key))

    def answer(self, scope: Scope) -> Response | None:
        """The answer to a request that is remembered, if it needs neither the store nor a worker."""
        key = key_of(scope)
        repeat = None if key is None else self._known.get(key)
        if key is None or repeat is None:
            return None
        if not self._library.still_holds(repeat.order):
            self._known.drop(key)
            return None
        scope["route"] = repeat.route
        wanted = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
        if wanted is not None and matches(repeat.order.etag, wanted.decode("latin-1")):
            return Response(status_code=304, headers=repeat.headers)
        answer = self._library.in_memory(repeat.order)
        if answer is None:
            return None
        picture, headers = answer.picture, {**repeat.headers, **FROM_MEMORY}
        self._library.metrics.bytes_served.labels(repeat.order.plan.format).inc(len(picture.body))
        return BodyResponse(picture.body, self._outgoing, headers=headers, media_type=picture.media_type)


class Repeated:
    """Layer before the routes that answers GET requests which are remembered."""

    def __init__(self, app: ASGIApp, repeats: Callable[[], Repeats]) -> None:
        self.app = app
        self._repeats = repeats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "GET":
            answer = self._repeats().answer(scope)
            if answer is not None:
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)

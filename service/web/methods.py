"""Which methods each address knows: all of them named where one is refused, and HEAD wherever GET is."""

import re
from collections.abc import Iterable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.web import problems


class Methods:
    """Layer before the routes: HEAD goes to GET's where it has no route of its own, OPTIONS is answered, and
    a method that no route of the address knows is refused (405).

    No server sends the body of an answer to HEAD, but each waits for its end. One without Content-Length may
    have none for long: it ends here, after its headers.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self._known: list[tuple[re.Pattern[str], frozenset[str]]] = [
            (route.path_regex, frozenset(route.methods or ())) for route in routes if isinstance(route, Route)
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            known = {m for path, methods in self._known if path.match(scope["path"]) for m in methods}
            allowed = ", ".join(sorted({*known, "OPTIONS", *(["HEAD"] if "GET" in known else [])}))
            method = scope["method"]
            if known and method == "OPTIONS":
                await Response(status_code=204, headers={"Allow": allowed})(scope, receive, send)
                return
            if known and method not in allowed.split(", "):
                detail = f"this address knows {allowed}"
                refusal = problems.response(405, "Method not allowed", detail, {"Allow": allowed})
                await refusal(scope, receive, send)
                return
            if method == "HEAD" and known and "HEAD" not in known:
                own = {**scope, "method": "GET"}
                try:
                    await _without_endless_body(self.app, own, receive, send)
                finally:
                    scope.update({key: own[key] for key in ("route", "endpoint") if key in own})
                return
        await self.app(scope, receive, send)


class _Ended(Exception):
    """Raised into an application whose answer has been ended, so that it makes no body and lets go of all."""


async def _without_endless_body(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def ending(message: Message) -> None:
        await send(message)
        starts = message["type"] == "http.response.start"
        if starts and "content-length" not in Headers(raw=message["headers"]):
            await send({"type": "http.response.body"})
            raise _Ended

    with suppress(_Ended):
        await app(scope, receive, ending)

"""What every request gets: an id, a line in the log, metrics, and safe headers."""

import asyncio
import json
import logging
import re
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics
from service.web import problems

access_log = logging.getLogger("compass.access")
error_log = logging.getLogger("compass.error")

_SIGNATURE = re.compile(r"signature=[^&]*")
_ID = "compass.request_id"
"""Where the request's id stands in its scope."""
_SHOWN = 500
"""So many characters of a path, and of a query, are logged."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guarded:
    """Innermost layer: an unexpected exception is logged with the request's id and answered as a problem with
    status 500, which passes through the other layers as any answer does.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except asyncio.CancelledError:  # the server ends, and this request has not come to an end
            if started:
                raise
            detail = "the service is stopping"
            await problems.response(503, "Worker failed", detail, {"Retry-After": "5"})(scope, receive, send)
        except Exception:
            request_id = scope.get(_ID, "")
            error_log.exception("request %s", request_id)
            if started:
                raise
            detail = f"an error in this service; its log has the details of request {request_id}"
            await problems.response(500, "Internal error", detail)(scope, receive, send)


class Observed:
    """Outermost layer of the application (pure ASGI, streams pass through untouched)."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = scope[_ID] = _request_id(scope)
        status = 0
        sent = 0
        unread = _has_body(scope)

        async def received() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and bool(message.get("more_body"))
            return message

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                if unread:  # or the connection would hang on a body that nobody wants
                    headers["Connection"] = "close"
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            if b"#" in scope["raw_path"] + scope["query_string"]:
                detail = "a request target has no fragment: # is written %23"
                await problems.response(400, "Bad request", detail)(scope, received, watched)
            else:
                await self.app(scope, received, watched)
        finally:
            self._record(scope, request_id, status, sent, time.perf_counter() - start)

    def _record(self, scope: Scope, request_id: str, status: int, sent: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.requests.labels(route, method, str(status)).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        client = scope.get("client")
        line = {
            "request": request_id,
            "client": client[0] if client else "",
            "method": scope["method"],
            "path": scope["path"][:_SHOWN],
            "query": _SIGNATURE.sub("signature=...", scope["query_string"].decode("latin-1"))[:_SHOWN],
            "status": status,
            "bytes": sent,
            "seconds": round(seconds, 4),
        }
        access_log.info(json.dumps(line))


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _has_body(scope: Scope) -> bool:
    """Whether the client announces a body, be it empty."""
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return str(text)
    return uuid.uuid4().hex

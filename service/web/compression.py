"""JSON and text compressed for clients that accept it; pictures are compressed already."""

import asyncio
import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALLEST = 500
"""Bytes from which on it is worth it."""
LEVEL = 5


class Compressed:
    """Layer that writes JSON, and metrics, as gzip where Accept-Encoding names it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not _accepts_gzip(Headers(scope=scope).get("accept-encoding", "")):
            await self.app(scope, receive, send)
            return
        start: Message | None = None

        async def compressing(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_text(message):
                start = message
                return
            if start is not None:
                body = message.get("body", b"")
                if not message.get("more_body") and len(body) >= SMALLEST:
                    body = await asyncio.to_thread(gzip.compress, body, LEVEL, mtime=0)
                    headers = MutableHeaders(scope=start)
                    headers["Content-Encoding"] = "gzip"
                    headers["Content-Length"] = str(len(body))
                    headers.add_vary_header("Accept-Encoding")
                    message = {**message, "body": body}
                await send(start)
                start = None
            await send(message)

        await self.app(scope, receive, compressing)


def _is_text(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    media = headers.get("content-type", "").split(";")[0]
    return "content-encoding" not in headers and (media.endswith("json") or media == "text/plain")


def _accepts_gzip(accept: str) -> bool:
    for part in accept.split(","):
        name, _, parameters = part.strip().lower().partition(";")
        if name.strip() == "gzip":
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False

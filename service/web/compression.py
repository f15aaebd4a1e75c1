"""JSON and text compressed for clients that accept it; pictures are compressed already."""

import asyncio
import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALLEST = 500
"""Bytes from which on it is worth it."""
LEVEL = 5


class Compressed:
    """Layer that writes JSON, and metrics, as gzip where Accept-Encoding names it.

    Parts of a file stay as they are: their Content-Range counts its own bytes. A compressed answer has a weak
    ETag, so that no part of the file is put to it.
    """

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
            if message["type"] == "http.response.start" and _is_whole_text(message):
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
                    if "ETag" in headers:
                        headers["ETag"] = f"W/{headers['ETag'].removeprefix('W/')}"
                    message = {**message, "body": body}
                await send(start)
                start = None
            await send(message)

        await self.app(scope, receive, compressing)


def _is_whole_text(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    if start["status"] == 206 or "content-range" in headers or "content-encoding" in headers:
        return False
    media = headers.get("content-type", "").split(";")[0]
    return media.endswith("json") or media == "text/plain"


def _accepts_gzip(accept: str) -> bool:
    for part in accept.split(","):
        name, _, parameters = part.strip().lower().partition(";")
        if name.strip() == "gzip":
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False

"""How often one client may ask: so many requests a minute, told in RateLimit headers."""

import ipaddress
import math
import time
from collections.abc import Callable

from cachetools import LRUCache
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.web import problems

WINDOW = 60.0
"""Seconds in which what has been used is given back."""
CLIENTS = 10_000
"""So many clients are remembered, those seen last."""
_FREE = frozenset({"/healthz", "/readyz"})


class RateLimited:
    """Layer that answers 429 to a client which asks more than ``per_minute`` times a minute.

    A client is an address, of IPv6 the network that one customer has (/64); what a socket of IPv6 shows as
    ``::ffff:192.0.2.1`` is that IPv4 address. Each has a bucket of ``per_minute`` requests, which fills again
    evenly; the headers are those of the IETF's draft (RateLimit, RateLimit-Policy).
    """

    def __init__(self, app: ASGIApp, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(CLIENTS)  # what is left, and since when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _FREE:
            await self.app(scope, receive, send)
            return
        now, who = self._clock(), _client(scope)
        left, since = self._buckets.get(who, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - since) * self._per_minute / WINDOW)
        allowed = left >= 1
        left -= allowed
        self._buckets[who] = left, now
        full = math.ceil((self._per_minute - left) * WINDOW / self._per_minute)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = f'"client";q={self._per_minute};w={WINDOW:.0f}'
                headers["RateLimit"] = f'"client";r={int(left)};t={full}'
            await send(message)

        if allowed:
            await self.app(scope, receive, told)
            return
        wait = math.ceil((1 - left) * WINDOW / self._per_minute)
        detail = f"{self._per_minute} requests a minute are allowed"
        refusal = problems.response(429, "Too many requests", detail, {"Retry-After": str(wait)})
        await refusal(scope, receive, told)


def _client(scope: Scope) -> str:
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))

"""Signed URLs: what a service with ``COMPASS_URL_KEYS`` opens to whoever has no API key.

The signature is an HMAC-SHA256 of path and query. The service checks with the same functions; the kit for
JavaScript (service/static/kit) has its own, and a test compares the two.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode

SIGNATURE = "signature"
EXPIRES = "expires"
"""The parameters that signing adds to a query."""


def signed_url(url: str, key: str, expires: int | None = None) -> str:
    """A URL of a picture, whole or from its path on, with its signature.

    ``key`` is the first of the service's ``COMPASS_URL_KEYS``; ``expires`` is in seconds since 1970, None for
    never. What the URL has of both parameters is replaced. Raises ValueError for a URL with a fragment.
    """
    if "#" in url:
        raise ValueError("a URL with a fragment cannot be signed")
    address, _, query = url.partition("?")
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/") if separator else ("", "", "")
    origin, path = (f"{scheme}://{host}", slash + path) if separator else ("", address)
    return f"{origin}{path}?{sign(path, query, key, expires)}"


def sign(path: str, query: str, key: str, expires: int | None = None) -> str:
    """The query string with its signature; ``expires`` is in seconds since 1970, None for never."""
    pairs = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in (SIGNATURE, EXPIRES)]
    if expires is not None:
        pairs.append((EXPIRES, str(expires)))
    return urlencode([*pairs, (SIGNATURE, signature(path, pairs, key))])


def signature(path: str, pairs: Sequence[tuple[str, str]], key: str) -> str:
    """The signature of a path and the parameters of a query, which may come in any order."""
    text = f"{path}?{urlencode(sorted(pairs))}"
    digest = hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")

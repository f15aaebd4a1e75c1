"""Who may write, and which URLs may be read: API keys and signed URLs."""

import hmac
import re
import time
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from service.client.signing import EXPIRES, SIGNATURE, signature
from service.errors import Forbidden, Unauthorized

BEARER = HTTPBearer(
    scheme_name="BearerKey", auto_error=False, description="an API key, where the service has any"
)
KEY_HEADER = APIKeyHeader(
    name="X-API-Key", scheme_name="HeaderKey", auto_error=False, description="an API key, in another header"
)
SIGNED_URL = APIKeyQuery(
    name=SIGNATURE,
    scheme_name="SignedURL",
    auto_error=False,
    description="the URL's signature, where the service has keys to sign with: see `compass sign`",
)


async def api_key(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
    header: Annotated[str | None, Security(KEY_HEADER)],
) -> str:
    """Dependency: the API key that a request carries, right or not; "" if it carries none."""
    return bearer.credentials.strip() if bearer else header or ""


ApiKey = Annotated[str, Depends(api_key)]


def carries_key(request: Request) -> bool:
    """Whether a request carries an API key, right or wrong."""
    return not {"authorization", KEY_HEADER.model.name.lower()}.isdisjoint(request.headers.keys())


def is_api_key(given: str, keys: Sequence[SecretStr]) -> bool:
    """Whether what a request carries is one of the keys; how long that takes does not tell how nearly."""
    matches = [hmac.compare_digest(given.encode(), key.get_secret_value().encode()) for key in keys]
    return any(matches)


def require_api_key(given: str, keys: Sequence[SecretStr]) -> None:
    """Raise Unauthorized if there are keys and what a request carries is none of them."""
    if keys and not is_api_key(given, keys):
        raise Unauthorized("send Authorization: Bearer <key>, or X-API-Key: <key>")


def signed_target(request: Request) -> tuple[str, str]:
    """The path and the query string that a signature covers: exactly as the client sent them.

    What a URL library makes of them is something else: it ends a query at the first ``#``.
    """
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return path.decode("latin-1"), query.decode("latin-1")


def require_signature(path: str, query: str, keys: Sequence[SecretStr]) -> None:
    """Raise Forbidden if there are keys and the URL is not signed by one of them, or too old."""
    if not keys:
        return
    pairs = parse_qsl(query, keep_blank_values=True)
    given = [value for name, value in pairs if name == SIGNATURE]
    rest = [pair for pair in pairs if pair[0] != SIGNATURE]
    right = [signature(path, rest, key.get_secret_value()) for key in keys]
    fits = [hmac.compare_digest(one.encode(), r.encode()) for one in given for r in right]
    if len(given) != 1 or not any(fits):
        raise Forbidden("this URL needs a valid signature")
    if seconds_valid(query) == 0:
        raise Forbidden("this URL has expired")


def seconds_valid(query: str) -> int | None:
    """How long a signed URL is still valid, 0 if it has expired; None if it has no end."""
    limits = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == EXPIRES]
    if not limits:
        return None
    ends = [int(value) if re.fullmatch(r"[0-9]{1,15}", value) else 0 for value in limits]
    return max(0, min(ends) - int(time.time()))

"""API keys and signed URLs."""

import time

import pytest
from pydantic import SecretStr
from starlette.requests import Request

from service.client.signing import sign
from service.errors import Forbidden, Unauthorized
from service.web.access import (
    BEARER,
    KEY_HEADER,
    api_key,
    is_api_key,
    require_api_key,
    require_signature,
    seconds_valid,
    signed_target,
)

KEYS = (SecretStr("old"), SecretStr("new"))


async def given(**headers):
    """The key that a request with these headers carries."""
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    request = Request({"type": "http", "headers": raw})
    return await api_key(await BEARER(request), await KEY_HEADER(request))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"authorization": "Bearer old"}, True),
        ({"authorization": "bearer  new"}, True),
        ({"x_api_key": "new"}, True),
        ({"authorization": "Basic new"}, False),
        ({"authorization": "Basic other", "x_api_key": "new"}, True),
        ({"authorization": "Bearer newer"}, False),
        ({"x_api_key": ""}, False),
        ({"x_api_key": "n\u00e9w"}, False),
    ],
)
async def test_api_key(headers, expected):
    assert is_api_key(await given(**headers), KEYS) is expected


def test_without_keys_anybody_may_write():
    require_api_key("", ())
    with pytest.raises(Unauthorized):
        require_api_key("", KEYS)


def test_signature_covers_path_and_parameters():
    query = sign("/images/a", "width=10&format=webp", "old")
    require_signature("/images/a", query, KEYS)
    require_signature("/images/a", "&".join(reversed(query.split("&"))), KEYS)
    for path, changed in [
        ("/images/b", query),
        ("/images/a", query.replace("width=10", "width=11")),
        ("/images/a", query + "&height=3"),
        ("/images/a", query + "&signature=x"),
        ("/images/a", "width=10&format=webp"),
    ]:
        with pytest.raises(Forbidden):
            require_signature(path, changed, KEYS)


def test_signature_expires_and_its_end_cannot_be_moved():
    late = sign("/images/a", "", "new", int(time.time()) + 60)
    require_signature("/images/a", late, KEYS)
    with pytest.raises(Forbidden):
        require_signature("/images/a", sign("/images/a", "", "new", int(time.time()) - 1), KEYS)
    with pytest.raises(Forbidden):
        require_signature("/images/a", late.replace("expires=", "expires=9"), KEYS)


def test_how_long_a_url_is_valid():
    assert seconds_valid("width=3") is None
    assert 50 < seconds_valid(f"expires={int(time.time()) + 60}&width=3") <= 60
    for ended in (
        "expires=1",
        "expires=x",
        "expires=",
        "expires=" + "9" * 5000,
        "expires=9999999999&expires=1",
    ):
        assert seconds_valid(ended) == 0


def test_retired_keys_are_refused():
    with pytest.raises(Forbidden):
        require_signature("/images/a", sign("/images/a", "", "retired"), KEYS)


def test_what_is_signed_is_what_was_sent():
    """A URL library ends the query at the first ``#``; parameters behind it would be nobody's."""
    scope = {"type": "http", "raw_path": b"/images/a%20b", "query_string": b"width=1#&width=2", "headers": []}
    assert signed_target(Request(scope)) == ("/images/a%20b", "width=1#&width=2")

"""Errors as problem+json, whatever raised them."""

import json

import httpx
import pytest
from fastapi import FastAPI

from service import errors
from service.errors import NotFound, Overloaded, ServiceError, Unauthorized
from service.web.problems import MEDIA_TYPE, documented, from_error, install

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ServiceError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_becomes_a_problem(kind: type[ServiceError]) -> None:
    answer = from_error(kind("what was wrong"))
    assert (answer.status_code, answer.media_type) == (kind.status, MEDIA_TYPE)
    assert answer.headers["cache-control"] == "no-store"
    body = json.loads(bytes(answer.body))
    expected = {"type": "about:blank", "title": kind.title, "status": kind.status, "detail": "what was wrong"}
    assert body == expected


def test_when_to_come_back_is_rounded_up_to_whole_seconds() -> None:
    for seconds, header in ((0.01, "1"), (2.0, "2"), (2.1, "3")):
        assert from_error(Overloaded("full", seconds)).headers["retry-after"] == header
    assert from_error(Overloaded("full")).headers["retry-after"] == "5"  # as its kind knows
    assert "retry-after" not in from_error(NotFound("no picture")).headers


def test_a_401_says_how_to_show_a_key() -> None:
    assert from_error(Unauthorized("no key")).headers["www-authenticate"] == "Bearer"


async def test_errors_of_the_framework_are_problems_too() -> None:
    app = FastAPI()
    install(app)

    @app.get("/number")
    async def number(value: int, other: int = 0) -> int:
        return value + other

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        wrong = await client.get("/number?value=x&other=y")
        assert wrong.headers["content-type"] == MEDIA_TYPE
        assert wrong.status_code == wrong.json()["status"] == 422
        assert [part.split(":")[0] for part in wrong.json()["detail"].split("; ")] == ["value", "other"]
        assert (await client.get("/nothing")).json()["title"] == "Not Found"
        assert (await client.post("/number")).headers["allow"] == "GET"


def test_what_is_documented_has_the_form_of_a_problem() -> None:
    found = documented(404, 503)
    assert found.keys() == {404, 503}
    assert found[404]["description"] == "Not Found"
    assert found[404]["content"][MEDIA_TYPE]["schema"]["title"] == "Problem"

"""What every answer gets, unexpected exceptions included."""

import json
import logging

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.metrics import Metrics
from service.web.middleware import Guarded, Observed


async def fail(request: Request) -> Response:
    raise ZeroDivisionError("secret detail")


async def ignore_the_body(request: Request) -> Response:
    return PlainTextResponse("refused", 413)


async def read_the_body(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
async def client(metrics):
    routes = [
        Route("/fail", fail, methods=["GET", "POST"]),
        Route("/ignore/{name}", ignore_the_body, methods=["GET", "POST"]),
        Route("/read", read_the_body, methods=["GET", "POST"]),
    ]
    cors = Middleware(CORSMiddleware, allow_origins=["https://app.example.org"])
    layers = [Middleware(Observed, metrics=metrics), cors, Middleware(Guarded)]
    app = Starlette(routes=routes, middleware=layers)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


async def test_an_unexpected_exception_is_a_problem_without_details(client, metrics, caplog):
    answer = await client.get("/fail", headers={"X-Request-ID": "one", "Origin": "https://app.example.org"})
    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "one"
    assert "one" in answer.json()["detail"]
    assert "secret" not in answer.text
    assert "secret detail" in caplog.text
    labels = {"method": "GET", "status": "500"}
    samples = [s for family in metrics.registry.collect() for s in family.samples]
    assert [
        s.value for s in samples if s.name == "compass_requests_total" and labels.items() <= s.labels.items()
    ] == [1]


async def test_a_connection_whose_body_nobody_read_is_closed(client):
    assert (await client.post("/ignore/x", content=b"body")).headers["connection"] == "close"
    for answer in (await client.get("/ignore/x"), await client.post("/read", content=b"body")):
        assert "connection" not in answer.headers


async def test_the_access_log_is_json(client, caplog):
    with caplog.at_level(logging.INFO, "compass.access"):
        await client.get("/read?width=3&signature=hidden&x=1")
    line = json.loads(caplog.records[-1].getMessage())
    assert line["path"] == "/read"
    assert line["query"] == "width=3&signature=...&x=1"
    assert (line["status"], line["method"], line["bytes"]) == (200, "GET", 1)


async def test_a_line_of_the_log_is_short_whatever_is_asked_for(client, caplog):
    caplog.set_level("INFO", "compass.access")
    await client.get("/ignore/" + "x" * 60_000, params={"y": "z" * 60_000})
    (line,) = [record.message for record in caplog.records if record.name == "compass.access"]
    assert len(line) < 2000
    assert json.loads(line)["path"].startswith("/ignore/xxx")

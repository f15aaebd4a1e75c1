"""Uploads that are answered at once, over HTTP."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import ASGIApp

from service.errors import DamagedStream, NotFound, ServiceError, StoreFull, StoreUnavailable
from service.routes import jobs
from service.storage.jobs import ALIVE_SECONDS, JobState
from service.web.stalls import dropping_after
from tests.service.fakes import Board
from tests.service.routes.test_images import problem
from tests.service.running import RunningService
from tests.service.samples import encoded, photo

ASYNC = {"Prefer": "respond-async"}


def accepted(service, data, **parameters):
    """The job of an upload."""
    answer = service.client.post("/images", content=data, headers=ASYNC, params=parameters)
    assert answer.status_code == 202, answer.text
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.headers["cache-control"] == "no-store"
    job = answer.json()
    assert answer.headers["location"] == job["url"] == f"/jobs/{job['id']}"
    assert (job["state"], job["stage"], job["percent"], job["picture"]) == ("working", "waiting", 0, None)
    return job


def ended(service, job):
    """What the job says once it is over."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = service.client.get(job["url"]).json()
        if found["state"] != "working":
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def test_a_picture_is_stored_behind_the_answer(service):
    data = encoded(photo(90, 60, seed=91), "PNG")
    job = accepted(service, data, widths="30")
    end = ended(service, job)
    assert (end["state"], end["stage"], end["percent"], end["problem"]) == ("stored", "done", 100, None)
    info = service.client.get(f"/images/{end['picture']['id']}/info").json()
    assert end["picture"] == info == service.upload(data, widths="30")
    service.client.delete(info["url"])
    assert service.client.get(job["url"]).json()["picture"] is None


def test_a_refusal_is_told_as_it_would_have_been_answered(service):
    end = ended(service, accepted(service, b"no picture at all"))
    direct = problem(service.client.post("/images", content=b"no picture at all"), 415)
    assert (end["state"], end["picture"]) == ("failed", None)
    assert end["problem"] == direct
    problem(service.client.post("/images", content=b"", headers=ASYNC), 400)


def test_events_tell_the_life_of_an_upload(service):
    job = accepted(service, encoded(photo(600, 400, seed=92), "PNG"))
    with service.client.stream("GET", f"{job['url']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [block.split("\n") for block in "".join(answer.iter_text()).split("\n\n") if block]
    assert {lines[0] for lines in events} == {"event: progress"}
    states = [json.loads(lines[1].removeprefix("data: ")) for lines in events]
    percents = [state["percent"] for state in states]
    assert percents == sorted(percents)
    assert [state["state"] for state in states][-1] == "stored"
    assert all(state["state"] == "working" for state in states[:-1])
    assert states[-1]["picture"]["width"] == 600


@pytest.mark.parametrize("job", ["a" * 32, "0" * 31, "..%2Fmetrics", "%00", "%2A"])
def test_unknown_jobs(service, job):
    assert service.client.get(f"/jobs/{job}").status_code == 404
    assert service.client.get(f"/jobs/{job}/events").status_code == 404


async def test_where_there_are_keys_jobs_need_one(serve):
    client, library = serve(api_keys="secret")
    assert (await client.get(f"/jobs/{'a' * 32}")).status_code == 401
    assert (await client.get(f"/jobs/{'a' * 32}/events")).status_code == 401
    answer = await client.post("/images", content=b"x", headers={**ASYNC, "X-API-Key": "secret"})
    assert answer.status_code == 202
    assert (await client.get(answer.json()["url"])).status_code == 401
    assert (await client.get(answer.json()["url"], headers={"X-API-Key": "secret"})).status_code == 200
    for _ in range(100):
        await asyncio.sleep(0)
    assert library.kept


async def test_bodies_count_until_they_are_kept(serve):
    """What is answered early is still in memory: it takes its room."""
    client, library = serve(max_uploads=1, max_upload_bytes=1000)
    library.gate.clear()
    assert (await client.post("/images", content=b"x" * 600, headers=ASYNC)).status_code == 202
    assert (await client.post("/images", content=b"y" * 600, headers=ASYNC)).status_code == 429
    library.gate.set()
    for _ in range(100):
        answer = await client.post("/images", content=b"y" * 600)
        if answer.status_code == 201:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(answer.text)


async def test_metrics_tell_of_uploads_that_fail_after_their_answer(serve):
    client, library = serve()
    library.gate.clear()
    job = (await client.post("/images", content=b"x", headers=ASYNC)).json()
    line = 'compass_upload_jobs_total{{status="507"}} {}'.format
    assert line(0.0) in (await client.get("/metrics")).text  # so that the first one is an increase
    library.failure = StoreFull("the disk is full")
    library.gate.set()
    for _ in range(1000):
        told = (await client.get(job["url"])).json()
        if told["state"] != "working":
            break
        await asyncio.sleep(0.01)
    assert told["problem"]["status"] == 507
    assert line(1.0) in (await client.get("/metrics")).text


class Scripted(Board):
    """Gives these answers, one after the other."""

    def __init__(self, *answers: JobState | ServiceError) -> None:
        super().__init__()
        self._answers = iter(answers)

    async def ask(self, job: str) -> JobState:
        """The next."""
        answer = next(self._answers)
        if isinstance(answer, ServiceError):
            raise answer
        return answer


AWAY = StoreUnavailable("the store does not answer")
WORKING = JobState("working", "coding", 10)


@pytest.fixture
def events(serve, monkeypatch):
    """What is told of a job of which the board says this, as pairs of an event's name and its data. A
    picture that is stored is there; ``failure`` is what comes of looking it up first.
    """
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.001)

    async def told(*answers, failure=None):
        client, library = serve()
        stored = JobState("stored", "done", 100, library.add((60, 40)).id)
        library.failure = failure
        board = Scripted(*[stored if answer == "stored" else answer for answer in answers])
        client._transport.app.state.context.jobs.board = board
        answer = await client.get(f"/jobs/{'a' * 32}/events")
        assert answer.status_code == 200
        pairs = [block.split("\n") for block in answer.text.split("\n\n") if block]
        return [
            (name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs
        ]

    return told


async def test_events_outlast_a_store_that_is_away(events, monkeypatch):
    told = await events(WORKING, AWAY, AWAY, "stored")
    assert [(name, data["state"]) for name, data in told] == [("progress", "working"), ("progress", "stored")]
    assert told[-1][1]["picture"]["width"] == 60
    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0)
    told = await events(WORKING, AWAY, AWAY, "stored")
    assert [data["state"] for _, data in told] == ["working"] * 3 + ["stored"]
    assert told[0] == told[1] == told[2]


async def test_a_picture_is_looked_up_again_when_the_store_is_back(events):
    told = await events(WORKING, "stored", "stored", failure=AWAY)
    assert [data["state"] for _, data in told] == ["working", "stored"]
    assert told[-1][1]["picture"]["width"] == 60


async def test_of_a_stored_picture_that_cannot_be_read_events_say_why(events):
    told = await events(WORKING, "stored", failure=DamagedStream("no such stream"))
    last = told[-1][1]
    assert (last["state"], last["picture"]) == ("stored", None)
    assert (last["problem"]["status"], last["problem"]["detail"]) == (500, "no such stream")


async def test_a_job_that_is_gone_when_the_store_is_back_is_lost(events):
    told = await events(WORKING, AWAY, NotFound("no such job"))
    assert told[-1] == ("lost", {"detail": "no such job"})


@asynccontextmanager
async def connected(app: ASGIApp) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the application, served as the service does it."""
    running = uvicorn.Server(uvicorn.Config(app, http=dropping_after(60), lifespan="off", log_config=None))
    serving = asyncio.create_task(running.serve([socket.create_server(("127.0.0.1", 0))]))
    while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*running.servers[0].sockets[0].getsockname())
    yield reader, writer
    writer.close()
    running.should_exit = True
    await serving


async def test_asking_for_the_headers_of_events_holds_up_nobody(serve):
    """A connection, which a proxy may share between clients, is free while the job is still under way."""
    client, library = serve()
    library.gate.clear()
    job = (await client.post("/images", content=b"x", headers=ASYNC)).json()
    async with connected(client._transport.app) as (reader, writer), asyncio.timeout(60):
        writer.write(b"HEAD %s/events HTTP/1.1\r\nHost: x\r\n\r\n" % job["url"].encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200")
        assert b"content-type: text/event-stream" in head
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert (await client.get(job["url"])).json()["state"] == "working"
        library.gate.set()


@pytest.mark.slow
def test_a_front_end_that_is_killed_leaves_no_promise_behind(tmp_path):
    """The job of an upload that it had is gone, and says at no time that the picture is stored; what it said
    to be stored is there.
    """
    large, small = encoded(photo(3000, 2000, seed=93), "PNG"), encoded(photo(90, 60, seed=94), "PNG")
    with RunningService(tmp_path) as running:
        kept = ended(running, accepted(running, small))["picture"]
        job = accepted(running, large)
        os.kill(running.process.pid, signal.SIGKILL)
        running.kill_everything()
        running.start()
        assert running.client.get(f"/images/{kept['id']}/info").json()["id"] == kept["id"]
        until = time.monotonic() + 2 * ALIVE_SECONDS
        while (answer := running.client.get(job["url"])).status_code == 200:
            assert answer.json()["state"] == "working"
            assert time.monotonic() < until
            time.sleep(0.5)
        assert "send the picture again" in problem(answer, 404)["detail"]
        assert [found["id"] for found in running.client.get("/images").json()["images"]] == [kept["id"]]
        assert ended(running, accepted(running, large))["state"] == "stored"

"""What is told of uploads that were answered already, in a real store."""

import asyncio

import pytest

from service.errors import NotFound
from service.storage import jobs
from service.storage.jobs import Failure, JobState, new_job


async def test_a_job_is_told_and_asked_for(store):
    job = new_job()
    assert job != new_job()
    for state in (
        JobState("working", "waiting", 0),
        JobState("working", "coding", 40),
        JobState("stored", "done", 100, "a" * 32),
        JobState("failed", "coding", 40, None, Failure(415, "Unsupported picture", "not a picture")),
    ):
        await store.jobs.tell(job, state)
        assert await store.jobs.ask(job) == state


async def test_a_job_whose_process_has_died_is_gone(store, monkeypatch):
    monkeypatch.setattr(jobs, "ALIVE_SECONDS", 0.2)
    job, over = new_job(), new_job()
    await store.jobs.tell(job, JobState("working", "coding", 40))
    await store.jobs.tell(over, JobState("stored", "done", 100, "a" * 32))
    await asyncio.sleep(0.3)
    with pytest.raises(NotFound, match="send the picture again"):
        await store.jobs.ask(job)
    assert (await store.jobs.ask(over)).over


@pytest.mark.parametrize(
    "job", ["", "a" * 31, "a" * 33, "*" * 32, "A" * 32, "../" + "a" * 29, "a" * 32 + "\n"]
)
async def test_what_names_no_job_is_not_looked_up(store, raw, job):
    await raw.set(f"compass:job:{job}", '{"state": "stored", "stage": "done", "percent": 100}')
    with pytest.raises(NotFound):
        await store.jobs.ask(job)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"state": "stored"}',
        b'{"state": "stored", "stage": "done", "percent": 101}',
        b'{"state": "stored", "stage": "done", "percent": 100, "picture": "../metrics"}',
        b'{"state": "failed", "stage": "done", "percent": 1, "failure": {"status": 200}}',
    ],
)
async def test_what_another_has_written_is_no_job(store, raw, text):
    job = new_job()
    await raw.set(f"compass:job:{job}", text)
    with pytest.raises(NotFound):
        await store.jobs.ask(job)

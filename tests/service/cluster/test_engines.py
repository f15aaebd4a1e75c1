"""What holds with workers of this machine holds with those of a cluster: lines, deadlines, quarantine."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from typing import Any

import httpx
import psutil
import pytest

from tests.service.cluster.conftest import OnCluster
from tests.service.cluster.nodes import HEAL_SECONDS, replicas
from tests.service.running import RunningService, seconds_until
from tests.service.samples import encoded, photo

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Serving = Callable[..., RunningService]


@pytest.fixture(params=["local", "ray"])
def serving(
    request: pytest.FixtureRequest, local: RunningService, on_cluster: OnCluster
) -> Iterator[Serving]:
    """Starts services of one store with some settings: each with a worker of its own, or on the cluster."""
    if request.param == "ray":
        yield on_cluster
        return
    folders = (local.folder / f"{request.node.name} {number}" for number in count())
    with ExitStack() as stack:

        def start(**settings: Any) -> RunningService:
            store = f"unix://{local.folder}/data/valkey.sock"
            running = RunningService(next(folders), redis_url=store, cache_bytes=0, **settings)
            return stack.enter_context(running)

        yield start


def stored(service: RunningService, width: int, height: int) -> str:
    """The address of a new picture."""
    there = service.upload(encoded(photo(width, height), "JPEG"), widths=str(width // 2))
    return f"/images/{there['id']}"


@pytest.fixture(scope="module")
def picture(local: RunningService) -> str:
    """Of two megapixels: answers take a second."""
    return stored(local, 1600, 1200)


@pytest.fixture(scope="module")
def large(local: RunningService) -> str:
    """Of fifteen megapixels: an answer takes seconds."""
    return stored(local, 4800, 3200)


def workers_of(service: RunningService) -> list[psutil.Process]:
    """The processes that work for a service."""
    return service.workers or replicas()


def at_work(service: RunningService) -> bool:
    """Whether one of them has a job, or would take it: they are busy for some seconds when they start."""
    return bool(service.metric("compass_workers_ready") and workers_of(service))


def deaths(service: RunningService) -> float:
    """How many workers have ended under their work."""
    return service.metric("compass_worker_restarts_total", reason="crashed")


def test_a_full_line_refuses_at_once_and_says_for_how_long(serving: Serving, picture: str) -> None:
    service = serving(read_queue=1)

    def ask(width: int) -> httpx.Response:
        return httpx.get(f"{service.url}{picture}?width={width}&format=png", timeout=120)

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(1500, 1512)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert service.metric("compass_jobs_total", outcome="refused") == len(refused)


def test_what_takes_too_long_is_given_up(serving: Serving, picture: str) -> None:
    service = serving(read_deadline=0.05)
    answer = service.client.get(f"{picture}?width=1450&format=png")
    assert (answer.status_code, answer.json()["title"]) == (503, "Deadline exceeded")


def test_a_job_whose_client_left_is_given_up(serving: Serving, large: str) -> None:
    service = serving()
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{service.url}{large}?width=4770&format=avif", timeout=httpx.Timeout(60, read=0.3))
    seconds_until(lambda: service.metric("compass_jobs_running") == 0, HEAL_SECONDS)
    assert service.client.get(f"{large}?width=100").status_code == 200


def test_a_picture_whose_workers_end_twice_is_in_quarantine(serving: Serving, large: str) -> None:
    service = serving()
    path = f"{large}?width=4790&format=avif"
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(httpx.get, service.url + path, timeout=2 * HEAL_SECONDS)
        while not asked.done():
            if deaths(service) < 2 and service.metric("compass_jobs_running") and at_work(service):
                time.sleep(0.3)  # it has taken the job
                for process in workers_of(service):
                    process.kill()
            time.sleep(0.1)
        assert (asked.result().status_code, deaths(service)) == (503, 2)
    seconds_until(lambda: service.client.get("/readyz").status_code == 200, HEAL_SECONDS)
    refused = service.client.get(path)
    assert (refused.status_code, refused.json()["title"]) == (503, "Picture in quarantine")
    assert service.client.get(f"{large}?width=90").status_code == 200  # of a layer below

"""What the service promises under pressure: one decode for many, answers without workers, no bombs."""

import asyncio
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from random import Random

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service.routes.test_images import problem
from tests.service.samples import bomb, encoded, photo

BIG = 900, 600


@contextmanager
def stopped_workers(service):
    """All worker processes are halted by SIGSTOP meanwhile."""
    workers = service.workers
    assert workers
    for worker in workers:
        worker.suspend()
    try:
        yield
    finally:
        for worker in workers:
            worker.resume()


@contextmanager
def memory_stays(processes, most):
    """None of them takes ``most`` bytes more meanwhile, be it for a moment."""
    before = {}
    for process in processes:
        folder = Path("/proc") / str(process.pid)
        (folder / "clear_refs").write_text("5")  # the peak begins anew
        before[folder] = process.memory_info().rss
    yield
    for folder, held in before.items():
        peak = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
        assert peak
        assert 1024 * int(peak[1]) < held + most


async def eventually(condition):
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen")


@pytest.fixture(scope="module")
def big(service):
    return service.upload(encoded(photo(*BIG, seed=100), "PNG"))


async def test_200_simultaneous_requests_are_one_decode(service, big):
    renders = service.metric("compass_renders_total")
    decoded = service.metric("compass_layers_decoded_total")
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=120) as client:
        with stopped_workers(service):  # so that all 200 are there before the first is done
            requests = [
                asyncio.create_task(client.get(big["url"], params={"width": 333, "format": "webp"}))
                for _ in range(200)
            ]
            joined = service.metric("compass_coalesced_requests_total")
            await eventually(lambda: service.metric("compass_coalesced_requests_total") >= joined + 150)
        answers = await asyncio.gather(*requests)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert service.metric("compass_renders_total") == renders + 1
    assert service.metric("compass_layers_decoded_total") <= decoded + len(big["layers"])


async def test_a_decode_survives_its_first_requester(service, big):
    renders = service.metric("compass_renders_total")
    parameters = {"width": 334, "format": "webp"}
    async with httpx.AsyncClient(base_url=service.url, timeout=120) as client:
        with stopped_workers(service):
            joined = service.metric("compass_coalesced_requests_total")
            first = asyncio.create_task(client.get(big["url"], params=parameters))
            await asyncio.sleep(0.2)
            second = asyncio.create_task(client.get(big["url"], params=parameters))
            await eventually(lambda: service.metric("compass_coalesced_requests_total") > joined)
            first.cancel()
            await eventually(lambda: service.metric("compass_requests_total", status="499") >= 1)
        assert (await second).status_code == 200
    assert service.metric("compass_renders_total") == renders + 1


async def test_work_whose_only_client_left_is_given_up(service, big):
    abandoned = service.metric("compass_jobs_total", outcome="abandoned")
    renders = service.metric("compass_renders_total")
    async with httpx.AsyncClient(base_url=service.url, timeout=120) as client:
        with stopped_workers(service):
            request = asyncio.create_task(client.get(big["url"], params={"width": 335}))
            await asyncio.sleep(0.2)
            request.cancel()
            await eventually(lambda: service.metric("compass_jobs_total", outcome="abandoned") > abandoned)
    assert service.metric("compass_renders_total") == renders


async def test_requests_that_are_cut_leave_no_work(service, big):
    """Two hundred clients leave at any moment: none of their jobs goes on waiting."""
    moments = Random(5)
    with stopped_workers(service):
        for number in range(200):
            with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
                target = f"{big['url']}?width={number + 336}"
                connection.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                await asyncio.sleep(moments.uniform(0.001, 0.004))
        await eventually(lambda: service.metric("compass_queue_depth") == 0)  # their deadline is later
    assert service.client.get(big["url"], params={"width": 335}).status_code == 200


def test_everything_but_decoding_works_while_all_workers_are_stopped(service, big):
    known = service.client.get(big["url"], params={"width": 100})
    tag = known.headers["etag"]
    with stopped_workers(service):
        get, head = service.client.get, service.client.head
        fresh = get(big["url"], params={"width": 100}, headers={"If-None-Match": tag})
        assert (fresh.status_code, fresh.content) == (304, b"")
        assert fresh.headers["etag"] == tag
        assert fresh.headers["cache-control"] == known.headers["cache-control"]
        for width in (100, 101):  # rendered before, and never
            answer = head(big["url"], params={"width": width})
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["content-type"] == "image/jpeg"
            assert answer.headers["vary"] == "Accept"
        assert head(big["url"], params={"width": 100}).headers["etag"] == tag
        assert get(big["url"], params={"width": 100}).content == known.content
        assert get(f"{big['url']}/info").json() == big
        assert len(get(f"{big['url']}/stream").content) == big["bytes"]
        assert get("/healthz").status_code == 200
        again = service.client.post("/images", files={"file": encoded(photo(*BIG, seed=100), "PNG")})
        assert (again.status_code, again.json()) == (200, big)


def test_a_life_begins_when_the_picture_is_stored(service):
    data = encoded(photo(40, 30, seed=101), "PNG")
    with ThreadPoolExecutor(1) as thread:
        with stopped_workers(service):
            upload = thread.submit(service.upload, data, ttl=100)
            time.sleep(2)
            assert not upload.done()
        resumed = time.time()
        expires = datetime.fromisoformat(upload.result()["expires"]).timestamp()
    assert expires >= resumed + 100


def test_bombs_do_not_reach_memory(service):
    """900 million pixels in about 100 kB, again and again."""
    data = bomb(30_000, 30_000)
    assert len(data) < 150_000
    problem(service.client.post("/images", files={"file": data}), 413)
    with memory_stays([service.process, *service.workers], 8 * 2**20):
        for _ in range(20):
            problem(service.client.post("/images", files={"file": data}), 413)


def test_slow_readers_take_little_memory(service):
    """Forty of them sip one answer of megabytes, which is in memory once."""
    noise = np.random.default_rng(3).integers(0, 256, (1000, 1000, 3), np.uint8)
    picture = service.upload(encoded(Image.fromarray(noise), "PNG"), widths=1000)
    path = f"{picture['url']}?width=2000&upscale=true&format=png"
    whole = service.client.get(path)
    assert len(whole.content) > 6 * 2**20
    assert service.client.get(path).content == whole.content
    before = service.process.memory_info().rss
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(40):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", service.port))
            sock.sendall(request)
            assert sock.recv(1)
        time.sleep(1)
        assert service.process.memory_info().rss < before + 20 * 2**20
        assert service.client.get(path).content == whole.content


def test_dribbling_uploads_keep_out_nobody(service):
    """Twenty have sent two bytes each, and then nothing."""
    with ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=30))
            sock.sendall(b"POST /images HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nxx")
        time.sleep(0.5)
        assert service.upload(encoded(photo(40, 30, seed=102), "PNG"))["width"] == 40


def test_no_upload_is_parsed_in_the_http_process(service):
    """A million empty segments before the picture: Pillow takes 160 MiB to find that there is none."""
    data = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 2**20
    with memory_stays([service.process], 10 * len(data)):
        problem(service.client.post("/images", content=data), 415)

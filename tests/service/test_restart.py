"""kill -9 of everything right after a 201 loses nothing; SIGTERM ends everything."""

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.service.running import RunningService
from tests.service.samples import encoded, photo


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_of_everything_loses_nothing_acknowledged(tmp_path):
    with RunningService(tmp_path, cache_bytes=0) as service:
        info = service.upload(encoded(photo(300, 200), "PNG"), widths="100")
        service.kill_everything()
        service.start()
        again = service.client.get(f"{info['url']}/info")
        assert again.json() == info
        first = service.client.get(f"{info['url']}/stream").content
        picture = service.client.get(info["url"], params={"format": "png"}).content
        family = [service.process, *service.process.children(recursive=True)]
        service.kill_everything()
        service.start()
        assert service.client.get(f"{info['url']}/stream").content == first
        assert service.client.get(info["url"], params={"format": "png"}).content == picture
        assert not any(process.is_running() for process in family)
        family = [service.process, *service.process.children(recursive=True)]
        code = service.stop()
    assert code in (0, -signal.SIGTERM)  # uvicorn cleans up, then ends by the signal it got
    assert not psutil.wait_procs(family, 10)[1]


def test_an_end_in_the_middle_of_uploads_is_503(tmp_path):
    """Uploads that wait, that are worked on and that still arrive: each is stored or told to come back."""
    pictures = [encoded(photo(2000, 1500, seed), "PNG") for seed in range(8)]  # a second or two each
    with (
        RunningService(tmp_path, drain_seconds=1) as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=60) as slow,
        ThreadPoolExecutor(8) as threads,
    ):
        slow.sendall(b"POST /images HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nx")
        answers = [
            threads.submit(httpx.post, f"{service.url}/images", content=data, timeout=60) for data in pictures
        ]
        while service.metric("compass_jobs_running") + service.metric("compass_queue_depth") < len(pictures):
            time.sleep(0.01)
        service.stop()
        outcomes = [answer.result() for answer in answers]
        assert slow.recv(12) == b"HTTP/1.1 503"
    assert {answer.status_code for answer in outcomes} <= {201, 503}
    refused = [answer for answer in outcomes if answer.status_code == 503]
    assert len(refused) >= 2
    assert all(answer.headers["retry-after"] for answer in refused)
    assert "Traceback" not in service.log

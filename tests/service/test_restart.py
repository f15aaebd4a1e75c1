"""kill -9 of everything right after a 201 loses nothing; SIGTERM ends everything."""

import signal

import psutil
import pytest

from tests.service.running import RunningService
from tests.service.samples import encoded, photo


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_of_everything_loses_nothing_acknowledged(tmp_path):
    service = RunningService(tmp_path, cache_bytes=0).start()
    info = service.upload(encoded(photo(300, 200), "PNG"), widths="100")
    service.kill_everything()
    service.start()
    try:
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
    finally:
        family = [service.process, *service.process.children(recursive=True)]
        code = service.stop()
    assert code in (0, -signal.SIGTERM)  # uvicorn cleans up, then ends by the signal it got
    assert not psutil.wait_procs(family, 10)[1]

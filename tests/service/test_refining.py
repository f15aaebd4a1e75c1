"""A running service makes what it stores smaller, however often it is ended meanwhile."""

import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.model.tiny import picture
from tests.service.running import RunningService

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SECONDS = 1500
"""On a busy machine refining gets next to nothing of the CPU."""


def upload(seed: int) -> bytes:
    out = BytesIO()
    Image.fromarray(picture(160, 128, seed)).save(out, "png")
    return out.getvalue()


def refined(service: RunningService, url: str) -> dict[str, Any]:
    """What is told of a picture as soon as it has been refined."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        info: dict[str, Any] = service.client.get(f"{url}/info").json()
        if info["refined"] is not None:
            return info
        time.sleep(0.5)
    raise AssertionError(service.log)


def test_pictures_get_smaller_and_stay_what_they_are(tmp_path: Path) -> None:
    with RunningService(tmp_path, refine="fast", drain_seconds=1) as service:
        first = service.upload(upload(0), widths="80", quality=60, ttl=100_000)
        assert first["refined"] is None
        tag = service.client.get(f"{first['url']}/stream").headers["etag"]
        now = refined(service, first["url"])
        assert now["refined"] == {"effort": "fast", "before_bytes": first["bytes"]}
        assert now["bytes"] < first["bytes"]
        changing = ("bytes", "layers", "refined")
        assert {k: v for k, v in now.items() if k not in changing} == {
            k: v for k, v in first.items() if k not in changing
        }
        answer = service.client.get(
            f"{first['url']}/stream", headers={"Range": "bytes=100-", "If-Range": tag}
        )
        assert (answer.status_code, len(answer.content)) == (200, now["bytes"])
        assert answer.headers["etag"] != tag
        assert service.client.get(first["url"], params={"width": 160}).status_code == 200
        assert service.upload(upload(0), widths="80", quality=60)["bytes"] == now["bytes"]
        assert service.metric("compass_refinements_total", outcome="refined") == 1
        assert service.metric("compass_refinement_saved_bytes_total") == first["bytes"] - now["bytes"]
        assert service.metric("compass_refinement_seconds_total") > 0
        assert service.metric("compass_refinements_waiting") == 0
        # What is under way when it all ends, in order or not, is done after the next start.
        second = service.upload(upload(1), widths="80", quality=60)
        service.kill_everything()
        service.start()
        third = service.upload(upload(2), widths="80", quality=60)
        service.stop()
        service.start()
        for before in (second, third):
            after = refined(service, before["url"])
            assert after["bytes"] <= before["bytes"]
        assert service.metric("compass_refinements_waiting_bytes") == 0
        assert service.metric("compass_damaged_streams_total") == 0
    assert "Traceback" not in service.log

"""The HTTP process as a whole, and what its settings tie into it."""

import subprocess
import sys
from pathlib import Path

import redis

from service.app import create_app
from service.metrics import Metrics
from service.settings import Settings
from tests.service.conftest import Serve
from tests.service.running import RunningService, seconds_until
from tests.service.samples import encoded, photo
from tests.service.write_openapi import document

CODE = """
import sys
import service.app

heavy = ("torch", "torchvision", "numba", "compressai", "model.codec", "model.network", "model.training")
print(*(name for name in heavy if name in sys.modules))
"""


def test_the_http_process_imports_no_torch_and_no_codec() -> None:
    """Neither at once nor by way of anything that it imports."""
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_failures_are_counted_from_nought() -> None:
    """Alerts on their increase see the first burst of them only if the counts were there before."""
    layers = create_app(Settings()).user_middleware
    (metrics,) = [layer.kwargs["metrics"] for layer in layers if "metrics" in layer.kwargs]
    assert isinstance(metrics, Metrics)
    (requests,) = metrics.requests.collect()
    counted = {tuple(sample.labels.values()) for sample in requests.samples if sample.value == 0}
    documented = {
        (path, method.upper(), status)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        for status in operation["responses"]
        if status.startswith("5")
    }
    assert {("/images", "POST", "507"), ("/images/{picture}", "PATCH", "507")} <= documented
    assert counted == documented


async def test_a_client_may_ask_so_often_and_health_is_told_beyond(serve: Serve) -> None:
    client, _ = serve(rate_limit=2)
    assert [(await client.get("/images")).status_code for _ in range(3)] == [200, 200, 429]
    assert (await client.get("/healthz")).status_code == 200


def test_the_store_is_bounded_and_damage_that_nobody_reads_is_found_every_time(tmp_path: Path) -> None:
    settings = {"store_memory_bytes": 300_000_000, "check_hours": 1 / 3600}
    with RunningService(tmp_path, **settings) as service:
        picture = service.upload(encoded(photo(60, 40), "PNG"))["id"]
        with redis.Redis(unix_socket_path=str(tmp_path / "data" / "valkey.sock")) as raw:
            raw.setrange(f"{{{picture}}}:stream", 0, b"!!")
        seconds_until(lambda: service.metric("compass_damaged_streams_total") >= 2, 60)
        assert f"picture {picture} is damaged" in service.log
        assert service.metric("compass_store_memory_limit_bytes") == settings["store_memory_bytes"]

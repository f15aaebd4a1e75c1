"""Dashboard and alert rules ask for what the service really exports, and the service tells the truth."""

import json
import re

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.shipped import DASHBOARD, METRICS_PAGE, RULES, ShippedRedis, metrics_named
from tests.service.running import RunningService
from tests.service.samples import encoded, photo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(deployed: RunningService) -> dict[str, set[str]]:
    """Sample names with their labels after an upload, two answers, a miss and one of them again."""
    picture = deployed.upload(encoded(photo(200, 150), "PNG"), widths="50,100")["id"]
    for path in (f"{picture}?width=50", f"{picture}?width=200", f"{picture}?width=50", "0" * 32):
        deployed.client.get(f"/images/{path}")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(deployed.metrics()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("file", [DASHBOARD, RULES], ids=lambda file: file.name)
def test_every_metric_asked_for_is_exported(file, exported):
    named = metrics_named(file.read_text())
    assert len(named) >= 8
    assert named <= set(exported)


@pytest.mark.parametrize("file", [DASHBOARD, RULES], ids=lambda file: file.name)
def test_every_label_asked_for_is_exported(file, exported):
    asked = {
        (metric, label)
        for metric, labels in re.findall(r"\b(compass_\w+)\{([^}]*)\}", file.read_text().replace('\\"', '"'))
        for label in re.findall(r"(\w+)\s*=", labels)
        if label != "instance"  # added by Prometheus
    }
    assert asked
    assert {(metric, label) for metric, label in asked if label not in exported[metric]} == set()


def test_the_dashboard_shows_nearly_everything(exported):
    kept_out = {"compass_build_info"}  # names the instances
    ignored = ("_created", "_bucket", "_count", "_sum")
    plain = {name for name in exported if name.startswith("compass_") and not name.endswith(ignored)}
    assert plain - kept_out <= metrics_named(json.dumps(json.loads(DASHBOARD.read_text())["panels"]))


def test_the_page_of_metrics_lists_all(exported):
    page = metrics_named(METRICS_PAGE.read_text())
    ignored = ("_created", "_bucket", "_count", "_sum")
    assert {name for name in exported if name.startswith("compass_") and not name.endswith(ignored)} <= page


def test_the_store_is_seen(deployed, shipped_redis):
    assert deployed.metric("compass_store_up") == 1
    assert deployed.metric("compass_store_memory_bytes") > 100_000
    assert deployed.metric("compass_store_memory_limit_bytes") == 256 * 2**20


def test_damage_is_counted(deployed, shipped_redis: ShippedRedis):
    picture = deployed.upload(encoded(photo(60, 40, seed=5), "PNG"))["id"]
    key = f"{{{picture}}}:stream"
    before = deployed.metric("compass_damaged_streams_total")
    last = shipped_redis.client.strlen(key) - 1
    byte = ord(shipped_redis.client.getrange(key, last, last))
    shipped_redis.client.setrange(key, last, bytes([byte ^ 1]))
    answer = deployed.client.get(f"/images/{picture}")
    assert answer.status_code == 500
    assert answer.json()["title"] == "Stored picture is damaged"
    assert deployed.metric("compass_damaged_streams_total") == before + 1
    shipped_redis.client.delete(key)


def test_a_dead_store_is_seen(tmp_path):
    (tmp_path / "redis").mkdir()
    server = ShippedRedis(tmp_path / "redis")
    server.start()
    service = RunningService(tmp_path, redis_url=server.url, store_timeout=1)
    try:
        service.start()
        assert service.metric("compass_store_up") == 1
        server.stop()
        assert service.metric("compass_store_up") == 0
        assert service.client.get("/healthz").status_code == 200
        assert service.client.get("/readyz").status_code == 503
        server.start()
        assert httpx.get(f"{service.url}/readyz", timeout=30).status_code == 200
        assert service.metric("compass_store_up") == 1
    finally:
        service.stop()
        server.stop()

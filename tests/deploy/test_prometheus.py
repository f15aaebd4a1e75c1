"""A real Prometheus with the shipped configuration, watching a real service.

Needs the programs `prometheus` and `promtool` (Debian: apt-get install prometheus).
"""

import math
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from benchmarks.load.processes import free_port
from tests.deploy.front import changed, installed
from tests.deploy.shipped import DOCKER, RULES, dashboard_queries, documented_queries
from tests.service.running import ROOT, RunningService
from tests.service.samples import encoded, photo

pytestmark = pytest.mark.slow
CONFIG = DOCKER / "prometheus/prometheus.yml"
FOUND = """    dns_sd_configs:
      - names: [compass]
        type: A
        port: 8000
        refresh_interval: 15s
"""


def program(name: str) -> str:
    return installed(name, "prometheus")


@pytest.mark.parametrize(("kind", "file"), [("config", CONFIG), ("rules", RULES)])
def test_promtool_accepts(tmp_path, kind, file):
    (tmp_path / "key").write_text("watch")
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    checked = tmp_path / f"{kind}.yml"
    checked.write_text(file.read_text().replace("/run/secrets/metrics_key", str(tmp_path / "key")))
    done = subprocess.run([program("promtool"), "check", kind, str(checked)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_only_then(tmp_path):
    tests = tmp_path / "alerts.yml"
    tests.write_text((ROOT / "tests/deploy/alerts.yml").read_text().replace("RULES", str(RULES)))
    done = subprocess.run([program("promtool"), "test", "rules", str(tests)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


class Watching:
    """A Prometheus with the shipped configuration, its targets replaced and its clock ticking faster."""

    def __init__(self, folder: Path, service: RunningService) -> None:
        own = f"127.0.0.1:{free_port()}"
        text = changed(
            CONFIG,
            (FOUND, f'    static_configs:\n      - targets: ["127.0.0.1:{service.port}"]\n'),
            ("localhost:9090", own),
            ("scrape_interval: 15s", "scrape_interval: 1s"),
            ("scrape_timeout: 10s", "scrape_timeout: 1s"),
            ("evaluation_interval: 15s", "evaluation_interval: 1s"),
            ("rules.yml", str(RULES)),
            ("/run/secrets/metrics_key", f"{folder}/key"),
        )
        (folder / "key").write_text("watch")
        (folder / "prometheus.yml").write_text(text)
        self.client = httpx.Client(base_url=f"http://{own}/api/v1", timeout=30)
        self._process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={own}",
            ],
            stderr=(folder / "log").open("wb"),
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def query(self, expression: str) -> list[dict]:
        answer = self.client.get("/query", params={"query": expression})
        assert answer.status_code == 200, (expression, answer.text)
        return answer.json()["data"]["result"]

    def wait_for(self, expression: str) -> None:
        for _ in range(240):
            with suppress(httpx.TransportError, AssertionError):
                if self.query(expression):
                    return
            time.sleep(0.5)
        raise AssertionError(expression)


@pytest.fixture(scope="module")
def watching(deployed: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watching]:
    """Prometheus after it has seen uploads, renderings, cached answers and misses."""
    prometheus = Watching(tmp_path_factory.mktemp("prometheus"), deployed)
    try:
        prometheus.wait_for('up{job="compass"} == 1')
        for seed in (100, 101):
            picture = deployed.upload(encoded(photo(200, 150, seed), "PNG"), widths="50,100")["id"]
            for path in (f"{picture}?width=50", f"{picture}?width=200", f"{picture}?width=50", "0" * 32):
                deployed.client.get(f"/images/{path}")
            # twice scraped since then: every counter has a rate, whatever other tests did before; after the
            # second picture one above 0
            last = "compass_renders_total[3s]"
            renders = deployed.metric("compass_renders_total")
            prometheus.wait_for(f"min_over_time({last}) >= {renders} and count_over_time({last}) >= 2")
        yield prometheus
    finally:
        prometheus.stop()


SILENT = ("compass_worker_restarts_total", "compass_store_disk_", "compass_pictures{", "compass_backup_")
"""What has nothing to show while nothing breaks, or of a store elsewhere."""


@pytest.mark.parametrize("expression", sorted(set(dashboard_queries())))
def test_every_panel_of_the_dashboard_gets_an_answer(watching, expression):
    found = watching.query(expression.replace("$instance", ".+").replace("$__rate_interval", "5m"))
    numbers = [float(series["value"][1]) for series in found]
    shown = [number for number in numbers if not math.isnan(number)]  # a quantile of nothing is NaN
    assert shown or any(name in expression for name in SILENT)
    assert all(number >= 0 for number in shown)


@pytest.mark.parametrize("expression", list(documented_queries()))
def test_every_query_of_the_documentation_gets_an_answer(watching, expression):
    numbers = [float(series["value"][1]) for series in watching.query(expression)]
    assert numbers
    assert all(number >= 0 for number in numbers)  # none is NaN


def test_the_share_of_answers_from_memory_is_between_none_and_all(watching):
    (expression,) = [query for query in documented_queries() if "cache_hits" in query]
    (share,) = watching.query(expression)
    assert 0 < float(share["value"][1]) < 1


def test_numbers_agree_with_the_service(watching, deployed):
    (stored,) = watching.query("sum(compass_bytes_stored_total)")
    assert float(stored["value"][1]) == deployed.metric("compass_bytes_stored_total")


def test_all_rules_are_loaded_and_quiet(watching):
    (group,) = watching.client.get("/rules").json()["data"]["groups"]
    named = re.findall(r"alert: (\w+)", RULES.read_text())
    assert [(rule["name"], rule["health"]) for rule in group["rules"]] == [(name, "ok") for name in named]
    assert [rule["name"] for rule in group["rules"] if rule["state"] == "firing"] == []

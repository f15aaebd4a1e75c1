"""A real service in processes of its own, for tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load.processes import free_port

START_SECONDS = 240
ROOT = Path(__file__).parents[2]


def seconds_until(condition: Callable[[], bool], at_most: float) -> float:
    """How long it takes until a condition holds, ``at_most`` so many seconds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < at_most
        time.sleep(0.02)
    return time.monotonic() - start


class RunningService:
    """``compass serve`` with the given settings (names without ``COMPASS_``), storing under ``folder``.

    In a ``with`` statement it is started, and stopped at the end.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=120)
        self._settings = {
            "data": folder / "data",
            "device": "cpu",
            "workers": 1,
            "spare_workers": 0,
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process(self) -> psutil.Process:
        """The HTTP process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        return [child for child in self.process.children() if "service.worker.process" in child.cmdline()]

    @property
    def log(self) -> str:
        """All that the service has written."""
        return (self.folder / "log").read_text()

    def start(self) -> Self:
        """Start and wait until it is ready; nothing of it is left where that fails."""
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill_everything()
            raise
        return self

    def launch(self) -> None:
        """Start, and wait for nothing."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COMPASS_")}
        environment |= {f"COMPASS_{name.upper()}": str(value) for name, value in self._settings.items()}
        environment |= {"COMPASS_PORT": str(self.port), "OMP_NUM_THREADS": "1"}
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "serve"],
                env=environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when /readyz is green; fails with the log if that never happens."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            with suppress(httpx.TransportError):
                if self.client.get("/readyz").status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(self.log)

    def stop(self) -> int:
        """End it as an operator would, if it has not ended yet; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(60)
        except BaseException:
            self.kill_everything()
            raise

    def kill_everything(self) -> None:
        """SIGKILL for the service, its workers and its store at once, if it has not ended yet."""
        assert self._process is not None
        if self._process.poll() is not None:
            return
        family = [self.process, *self.process.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(20)
        psutil.wait_procs(family, 20)

    def metrics(self) -> str:
        """All metrics, as Prometheus gets them."""
        keys = str(self._settings.get("metrics_keys") or self._settings.get("api_keys", "")).split(",")
        return self.client.get("/metrics", headers={"X-API-Key": keys[0].strip()}).text

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 if there is none."""
        text = self.metrics()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def upload(self, data: bytes, **parameters: Any) -> dict[str, Any]:
        """Keep a picture; returns what the service says of it."""
        answer = self.client.post("/images", files={"file": data}, params=parameters)
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = answer.json()
        return found

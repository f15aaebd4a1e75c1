"""A program in front of the service, in a process of its own: what nginx, Varnish and Caddy share."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.load.processes import free_port


def installed(name: str, package: str = "") -> str:
    """The path of a program; the test is skipped where it is not installed. Debian's ``package`` has it, else
    one called as it is, but for the d at its end.
    """
    program = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if program is None:
        package = package or name.removesuffix("d")
        pytest.skip(f"{name} is not installed (Debian: apt-get install {package})")
    return program


def changed(config: Path, *changes: tuple[str, str]) -> str:
    """A shipped configuration with each of these texts, which stands there once, replaced by another."""
    text = config.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


BROWSERS = {
    "Chrome": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Firefox": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "Safari": "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,"
    "image/svg+xml,image/*;q=0.8,*/*;q=0.5",
}
"""What today's browsers accept as an ``<img>``: each names AVIF."""
OLDER = {
    "Chrome 80": "image/webp,image/apng,image/*,*/*;q=0.8",
    "Safari 14": "image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5",
}
"""Browsers that know WebP, and no AVIF."""


class Front:
    """A program that listens on ``port`` of this machine; its files are in ``folder``."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.command: Sequence[str] = ()
        self.environment: Mapping[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it has written."""
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Start it; returns when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stderr=log, stdout=log, env={**os.environ, **self.environment}
            )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert self._process.poll() is None, self.log
            with suppress(httpx.TransportError):
                httpx.get(f"{self.url}/metrics", timeout=10)
                return
            time.sleep(0.05)
        raise AssertionError(self.log)

    def stop(self) -> None:
        """End it and its workers."""
        if self._process is not None:
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.terminate()
            self._process.wait(30)
            psutil.wait_procs(family, 10)

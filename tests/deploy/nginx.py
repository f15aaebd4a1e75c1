"""Debian's nginx with the shipped configuration, in a process of its own."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.load.processes import free_port
from tests.deploy.shipped import DOCKER

CONFIG = DOCKER / "nginx/compass.conf"


class Nginx:
    """nginx before front ends on these ports of this machine; its files are in ``folder``."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if program is None:
            pytest.skip("nginx is not installed (Debian: apt-get install nginx)")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        text = CONFIG.read_text()
        servers = "".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;" for port in ports)
        for old, new in (
            ("    server front-1:8000 max_fails=1 fail_timeout=2s;\n", servers),
            ("    server front-2:8000 max_fails=1 fail_timeout=2s;\n", "\n"),
            ("listen 80;", f"listen 127.0.0.1:{self.port};"),
            ("/var/cache/nginx/compass", str(folder / "cache")),
        ):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (folder / "compass.conf").write_text(text)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        user = "user root;" if os.geteuid() == 0 else ""  # else its workers are nobody, and cannot write here
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; worker_processes 1; {user} events {{ }}\n"
            f"http {{ access_log off; {temporary} include compass.conf; }}\n"
        )

    def check(self) -> str:
        """What ``nginx -t`` says; fails if it is not content."""
        done = subprocess.run([*self._command, "-t"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def start(self) -> "Nginx":
        """Start it; returns when it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stderr=log, stdout=log)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert self._process.poll() is None, self._log.read_text()
            with suppress(httpx.TransportError):
                httpx.get(f"{self.url}/metrics", timeout=10)
                return self
            time.sleep(0.05)
        raise AssertionError(self._log.read_text())

    def stop(self) -> None:
        """End it and its workers."""
        if self._process is not None:
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.terminate()
            self._process.wait(30)
            psutil.wait_procs(family, 10)

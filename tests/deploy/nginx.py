"""Debian's nginx with the shipped configuration."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.deploy.front import Front, changed, installed
from tests.deploy.shipped import DOCKER

CONFIG = DOCKER / "nginx/compass.conf"


class Nginx(Front):
    """nginx before front ends on these ports of this machine."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        program = installed("nginx")
        super().__init__(folder)
        self.command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        servers = "".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;" for port in ports)
        text = changed(
            CONFIG,
            ("    server front-1:8000 max_fails=1 fail_timeout=2s;\n", servers),
            ("    server front-2:8000 max_fails=1 fail_timeout=2s;\n", "\n"),
            ("listen 80;", f"listen 127.0.0.1:{self.port};"),
            ("/var/cache/nginx/compass", str(folder / "cache")),
        )
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
        done = subprocess.run([*self.command, "-t"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

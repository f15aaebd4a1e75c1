"""What HTTP itself costs: answers from memory, 304 and descriptions, beside a bare route and nginx.

    make bench-http [OPTIONS="--seconds 5"]

Three servers answer with the same number of bytes, over connections that are kept open: the service, whose
picture is in memory after the first request; a FastAPI route that does nothing but answer, on the same
uvicorn with the same parser; and nginx, where it is installed, which sends a file. A second is told in
requests, and a request in microseconds of the server's own CPU time, which other work on the machine hardly
changes: the ratios to the bare route are those of CPU time. The client is a process of its own and needs a
core, too.
"""

import argparse
import multiprocessing
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks.load.processes import Running, free_port, started
from benchmarks.measure.report import finish, table

CONNECTIONS = 16
WIDTH = 320
ROUNDS = 3
MILLION = 1_000_000


@dataclass(frozen=True)
class Rate:
    """Requests per second, and microseconds of the server's CPU time per request."""

    requests: float
    microseconds: float


def ask(port: int, request: bytes, seconds: float, status: int = 200) -> int:
    """How many requests are answered over 16 connections, each asked again as soon as it has answered.

    Raises ConnectionError if one is answered with another status than ``status``, or not at all.
    """
    lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    files = [line.makefile("rb") for line in lines]
    done, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        for line in lines:
            line.sendall(request)
        for file in files:
            first = file.readline()
            if first.split()[1:2] != [str(status).encode()]:
                raise ConnectionError(f"the server answered {first!r} instead of {status}")
            length = 0
            while (header := file.readline()) != b"\r\n":
                if not header:
                    raise ConnectionError("the server closed a connection")
                if header[:15].lower() == b"content-length:":
                    length = int(header[15:])
            file.read(length)
        done += CONNECTIONS
    for line in lines:
        line.close()
    return done


def rate(pid: int, port: int, request: bytes, seconds: float, status: int = 200) -> Rate:
    """Measured from a process of its own, for so many seconds."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(ask, (port, request, 0.2, status))
        before, begin = _cpu_seconds(family), time.perf_counter()
        done = pool.apply(ask, (port, request, seconds, status))
        elapsed = time.perf_counter() - begin
    return Rate(done / elapsed, MILLION * (_cpu_seconds(family) - before) / done)


def _cpu_seconds(family: list[psutil.Process]) -> float:
    return float(sum(sum(one.cpu_times()[:2]) for one in family))


def get(path: str, *headers: str) -> bytes:
    """A GET request as browsers send it."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Accept: image/avif,image/webp,*/*", *headers]
    return "\r\n".join([*lines, "User-Agent: bench", "", ""]).encode()


@contextmanager
def nginx(port: int, body: bytes) -> Iterator[int]:
    """nginx with one worker, which sends ``body`` for every path; yields its process id."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "picture.avif").write_bytes(body)
        Path(folder).chmod(0o755)
        Path(folder, "nginx.conf").write_text(
            f"""worker_processes 1; daemon off; pid {folder}/pid; error_log stderr;
            events {{}}
            http {{
                access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
                fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
                keepalive_requests 1000000; types {{ image/avif avif; }}
                server {{
                    listen 127.0.0.1:{port}; root {folder};
                    location / {{ try_files /picture.avif =404; }}
                }}
            }}"""
        )
        command = ["nginx", "-c", f"{folder}/nginx.conf"]
        path = Path(folder, "log")
        with path.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                Running(process, port, path).until_ready("/")
                yield process.pid
            finally:
                process.terminate()


def picture() -> bytes:
    """A JPEG of 1280 x 853 pixels, made up."""
    rows, columns = np.mgrid[0:853, 0:1280] / 100
    waves = [np.sin(rows * k + np.cos(columns * (3 - k))) * 60 + 128 for k in (1, 2, 3)]
    made = BytesIO()
    Image.fromarray(np.stack(waves, 2).astype(np.uint8)).save(made, "JPEG", quality=92)
    return made.getvalue()


def main() -> None:
    """Print a table and a line of JSON."""
    parser = argparse.ArgumentParser(prog="bench-http", description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="lite")
    parser.add_argument("--seconds", type=float, default=3, help="per measurement")
    parser.add_argument("--out", type=Path, default=Path("out/http"))
    options = parser.parse_args()
    found: dict[str, list[Rate]] = {}
    ports = [free_port() for _ in range(3)]
    serve = [sys.executable, "-m", "service.cli", "serve"]
    with started(serve, ports[0], options.profile, {"COMPASS_WORKERS": "1"}) as service:
        service.until_ready()
        base = f"http://127.0.0.1:{ports[0]}"
        stored = httpx.post(f"{base}/images", content=picture(), timeout=120).json()["id"]
        path = f"/images/{stored}?width={WIDTH}"
        answer = httpx.get(base + path, headers={"Accept": "image/avif"}, timeout=120)
        size = len(answer.content)
        bare_command = [sys.executable, "-m", "benchmarks.load.bare_server", str(ports[1]), str(size)]
        with started(bare_command, ports[1], options.profile) as bare:
            bare.until_ready("/images/x")
            tag = f"If-None-Match: {answer.headers['etag']}"
            asked = {
                "bare route": (bare, get(path), 200),
                "picture from memory": (service, get(path), 200),
                "304": (service, get(path, tag), 304),
                "description": (service, get(f"/images/{stored}/info"), 200),
            }
            for _ in range(ROUNDS):
                for name, (server, request, status) in asked.items():
                    measured = rate(server.pid, server.port, request, options.seconds, status)
                    found.setdefault(name, []).append(measured)
            if shutil.which("nginx"):
                with nginx(ports[2], answer.content) as pid:
                    found["nginx, a file"] = [
                        rate(pid, ports[2], get(path), options.seconds) for _ in range(ROUNDS)
                    ]
    best = {name: min(rates, key=lambda one: one.microseconds) for name, rates in found.items()}
    bare_time = best["bare route"].microseconds
    head = ("answer", "requests/s", "CPU, us per request", "rate, of the bare route's")
    rows = [
        (name, round(one.requests), round(one.microseconds), f"{bare_time / one.microseconds:.0%}")
        for name, one in best.items()
    ]
    title = f"{size} bytes, {CONNECTIONS} connections, the best of {ROUNDS} rounds"
    options.out.mkdir(parents=True, exist_ok=True)
    result = {name: vars(one) for name, one in best.items()}
    finish(options.out, "http", [title, table(head, rows)], result)


if __name__ == "__main__":
    main()

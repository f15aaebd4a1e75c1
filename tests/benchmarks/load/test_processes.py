"""What is seen of a family of processes."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from benchmarks.load import processes
from benchmarks.load.processes import Watch, alive, free_port, outliving, started, unix_sockets


def test_cpu_seconds_are_counted_from_the_first_look() -> None:
    watch = Watch()
    watch.note("http", 1, 10.0)
    watch.note("worker", 2, 5.0)
    watch.note("worker", 3, 7.0)
    watch.note("http", 1, 10.5)
    watch.note("worker", 2, 8.0)
    assert watch.cpu() == {"http": 0.5, "worker": 3.0, "store": 0.0}


def test_open_unix_sockets_and_ended_processes_are_seen() -> None:
    before = unix_sockets(os.getpid())
    pair = socket.socketpair()
    assert unix_sockets(os.getpid()) == before + 2
    for end in pair:
        end.close()
    assert unix_sockets(os.getpid()) == before
    with subprocess.Popen(["sleep", "60"]) as process:
        assert alive(process.pid)
        process.kill()
    assert not alive(process.pid)


def test_a_process_has_a_while_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as lasting, subprocess.Popen(["sleep", "1"]) as ending:
        threading.Thread(target=ending.wait).start()
        assert outliving([ending.pid]) == []
        monkeypatch.setattr(processes, "END_SECONDS", 0.2)
        assert outliving([ending.pid, lasting.pid]) == [lasting.pid]
        lasting.kill()


def test_a_server_is_started_with_its_settings_and_ended() -> None:
    port = free_port()
    code = (
        "import http.server, os\n"
        "class Answer(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        "        text = os.environ['COMPASS_PROFILE'] + os.environ['COMPASS_WORKERS']\n"
        "        self.wfile.write(text.encode())\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['COMPASS_PORT'])), Answer).serve_forever()"
    )
    with started([sys.executable, "-c", code], port, "lite", {"COMPASS_WORKERS": "3"}) as server:
        assert alive(server.pid)
        server.until_ready()
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read() == b"lite3"
    assert not alive(server.pid)


def test_nobody_waits_for_a_server_that_has_ended() -> None:
    code = "print('no weights'); raise SystemExit(3)"
    began = time.monotonic()
    with (
        started([sys.executable, "-c", code], free_port(), "lite") as server,
        pytest.raises(SystemExit) as told,
    ):
        server.until_ready()
    assert str(told.value) == "the server has ended with status 3:\nno weights\n"
    assert time.monotonic() - began < 60

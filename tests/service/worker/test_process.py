"""The worker process as such: it lives and dies with its socket and its parent."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.messages import protocol
from service.settings import Settings
from service.worker.process import Worker
from tests.service.engine.test_pool import alive
from tests.service.fault_tasks import FaultTasks
from tests.service.jobs import rendering

HOST = """
import asyncio, json, sys
from tests.service.jobs import rendering
from service.engine.pool import Pool
from service.settings import Settings

async def main():
    pool = Pool(Settings(workers=2, device="cpu"), "tests.service.fault_tasks:FaultTasks")
    await pool.start()
    while pool.state.workers < 2:
        await asyncio.sleep(0.01)
    job = rendering("k", json.dumps({"do": sys.argv[1], "seconds": 3600}).encode(), 0, (1, 1), "png", 1)
    busy = asyncio.create_task(pool.render(job, 1.0))
    await asyncio.sleep(0.2)
    print(json.dumps(pool.worker_pids), flush=True)
    await busy

asyncio.run(main())
"""


def wait_for_end(pids: list[int], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while any(alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in pids)


@pytest.mark.slow
@pytest.mark.parametrize("act", ["sleep", "hang with the interpreter lock"])
def test_no_worker_survives_its_killed_parent_even_when_busy(act: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])}
    with subprocess.Popen(
        [sys.executable, "-c", HOST, act], stdout=subprocess.PIPE, env=environment, text=True
    ) as host:
        assert host.stdout is not None
        pids = json.loads(host.stdout.readline())
        assert all(alive(pid) for pid in pids)
        host.kill()
        host.wait()
    wait_for_end(pids)


def start_worker(end: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "service.worker.process",
            "--socket",
            str(end.fileno()),
            "--parent",
            str(os.getpid()),
        ],
        pass_fds=[end.fileno()],
    )


def send(sock: socket.socket, message: protocol.Message) -> None:
    sock.sendall(b"".join(protocol.encode(message)))


def test_a_worker_ends_with_its_socket_and_not_by_signals_meant_for_the_service() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        worker = start_worker(theirs)
    settings = Settings(device="cpu").for_worker
    with ours, ours.makefile("rb") as stream:
        send(ours, protocol.Begin(settings, "tests.service.fault_tasks:FaultTasks", 1))
        assert protocol.receive(stream) == protocol.Ready(FaultTasks.model_id)
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGINT)
        job = rendering("key", b"{}", 0, (4, 3), "png", 80)
        send(ours, protocol.RenderWork((7,), (job,)))
        answer = protocol.receive(stream)
        assert isinstance(answer, protocol.RenderAnswer)
        assert answer.number == 7
        send(
            ours,
            protocol.RenderWork(
                (8,), (rendering("key", b'{"do":"sleep","seconds":99}', 0, (1, 1), "png", 1),)
            ),
        )
    assert worker.wait(20) == 0


def test_a_worker_ends_on_bytes_that_are_no_message() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        worker = start_worker(theirs)
    with ours:
        send(
            ours, protocol.Begin(Settings(device="cpu").for_worker, "tests.service.fault_tasks:FaultTasks", 1)
        )
        ours.sendall(b"\xff" * 64)
        assert worker.wait(20) == 0


def test_the_worker_sends_an_answer_for_every_job() -> None:
    sent: list[protocol.Message] = []
    worker = Worker(FaultTasks(Settings(device="cpu").for_worker), sent.append)
    good = rendering("good", b"{}", 0, (4, 3), "png", 80)
    bad = rendering("bad", b'{"do":"refuse"}', 0, (4, 3), "png", 80)
    worker.work(protocol.RenderWork((1, 2, 3), (good, bad, good)))
    kinds = [(type(message).__name__, getattr(message, "number", None)) for message in sent]
    assert kinds == [("RenderAnswer", 1), ("Failure", 2), ("RenderAnswer", 3)]

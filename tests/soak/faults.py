"""Faults for ``make soak``: each breaks something for a while and puts it right again.

A fault is called with the running service and a seeded random generator, in a thread of its own. It
raises an error if there is nothing now that it could break.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random

import psutil

from tests.service.running import RunningService

Fault = Callable[[RunningService, Random], None]

KEPT_FREE = 8 * 2**20
"""Bytes of the store's disk that the service keeps free: COMPASS_STORE_DISK_RESERVE."""


def kill_a_worker(service: RunningService, random: Random) -> None:
    """SIGKILL, whatever it works on."""
    random.choice(service.workers).kill()


def stop_a_worker(service: RunningService, random: Random) -> None:
    """SIGSTOP for some seconds."""
    with halted(random.choice(service.workers)):
        time.sleep(random.uniform(1, 6))


def hang_the_store(service: RunningService, random: Random) -> None:
    """The store's process stands still, for a shorter or a longer time than anybody waits."""
    store = [process for process in service.process.children() if process.name() == "valkey-server"]
    with halted(random.choice(store)):
        time.sleep(random.uniform(0.5, 4))


def fill_the_disk(service: RunningService, random: Random) -> None:
    """Less than what is kept free is left on the store's disk."""
    filler = service.folder / "data" / "filler"
    free = psutil.disk_usage(str(filler.parent)).free
    try:
        filler.write_bytes(bytes(max(0, free - KEPT_FREE // 2)))
        time.sleep(random.uniform(2, 5))
    finally:
        filler.unlink()


def read_slowly(service: RunningService, random: Random) -> None:
    """Thirty connections ask for the stored streams and take in a few bytes now and then."""
    pictures = service.client.get("/images", params={"limit": 30}).json()["images"]
    with ExitStack() as stack:
        socks = []
        for _ in range(30):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(5)
            sock.connect(("127.0.0.1", service.port))
            path = f"{random.choice(pictures)['url']}?format=png"
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            socks.append(sock)
        for _ in range(10):
            time.sleep(0.5)
            for sock in socks:
                with suppress(OSError):
                    sock.recv(512, socket.MSG_DONTWAIT)


def cut_clients(service: RunningService, random: Random) -> None:
    """A hundred ask for something new and leave at once, or a little later."""
    pictures = service.client.get("/images", params={"limit": 30}).json()["images"]
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", service.port), timeout=5) as sock:
            query = f"width={random.randrange(20, 400)}&q={random.randrange(1, 100)}"
            path = f"{random.choice(pictures)['url']}?{query}"
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            time.sleep(random.uniform(0, 0.02))


def dribble(service: RunningService, random: Random) -> None:
    """Twenty uploads send two bytes and no more."""
    with ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=5))
            sock.sendall(b"POST /images HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nxx")
        time.sleep(random.uniform(1, 5))


@contextmanager
def halted(process: psutil.Process) -> Iterator[None]:
    """The process stands still meanwhile; it may be ended, too."""
    process.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def own_disk(folder: Path) -> bool:
    """Whether the folder lies on a small disk of its own, which may be filled."""
    return folder.is_mount()


FAULTS: tuple[Fault, ...] = (
    kill_a_worker,
    stop_a_worker,
    hang_the_store,
    fill_the_disk,
    read_slowly,
    cut_clients,
    dribble,
)

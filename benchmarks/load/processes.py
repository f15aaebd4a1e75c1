"""A server under test as a family of processes: started, watched, harmed, ended."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROLES = ("http", "worker", "store")
START_SECONDS = 300
END_SECONDS = 10
_LOG_CHARACTERS = 3000


@dataclass(frozen=True)
class Running:
    """A server process, the port that it listens on, and the file that it prints to."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        """Its id."""
        return self.process.pid

    def until_ready(self, path: str = "/readyz") -> None:
        """Return when it answers there. If it ends, or has not answered after START_SECONDS, it ends this
        program with the last that it has printed.
        """
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if (status := self.process.poll()) is not None:
                raise SystemExit(f"the server has ended with status {status}:\n{self._printed()}")
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{self.port}{path}").status_code == 200:
                    return
            time.sleep(0.1)
        raise SystemExit(f"the server does not become ready:\n{self._printed()}")

    def _printed(self) -> str:
        return self.log.read_text(errors="replace")[-_LOG_CHARACTERS:]


@contextmanager
def started(
    command: Sequence[str], port: int, profile: str, settings: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """A server process with an empty store and these ``settings``, ended at last."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COMPASS_")},
            "COMPASS_DATA": folder,
            "COMPASS_PORT": str(port),
            "COMPASS_PROFILE": profile,
            **(settings or {}),
        }
        path = Path(folder, "log")
        with (
            path.open("wb") as log,
            subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
        ):
            try:
                yield Running(process, port, path)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()


@dataclass
class Watch:
    """What was seen of a family of processes, by what each is ("http", "worker" or "store"): resident bytes
    each second, and CPU seconds; workers killed, and the ids of all members.
    """

    memory: list[dict[str, int]] = field(default_factory=list)
    killed: int = 0
    seen: set[int] = field(default_factory=set)
    _seconds: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)

    def note(self, role: str, pid: int, seconds: float) -> None:
        """A process has had so many CPU seconds by now."""
        first, _ = self._seconds.get((role, pid), (seconds, seconds))
        self._seconds[role, pid] = first, seconds

    def cpu(self) -> dict[str, float]:
        """CPU seconds while watched, by role."""
        total = dict.fromkeys(ROLES, 0.0)
        for (role, _), (first, last) in self._seconds.items():
            total[role] += last - first
        return {role: round(seconds, 2) for role, seconds in total.items()}


@asynccontextmanager
async def watched(pid: int, kill: float, seconds: float) -> AsyncIterator[Watch]:
    """Watch a process and its children; for so many seconds kill a worker every ``kill`` seconds, 0 for
    never.
    """
    watch = Watch()
    begin = time.monotonic()

    def look() -> None:
        family = _family(pid)
        watch.seen.update(family)
        memory = dict.fromkeys(ROLES, 0)
        for member in family:
            role = _role(member, pid)
            memory[role] += _resident(member)
            watch.note(role, member, _cpu_seconds(member))
        watch.memory.append(memory)
        elapsed = time.monotonic() - begin
        if kill and kill * (watch.killed + 1) < elapsed < seconds:
            victims = [member for member in family if _role(member, pid) == "worker"]
            if victims:
                with suppress(ProcessLookupError):
                    os.kill(random.choice(victims), signal.SIGKILL)
                watch.killed += 1

    async def go_on() -> None:
        while True:
            look()
            await asyncio.sleep(1)

    task = asyncio.create_task(go_on())
    try:
        yield watch
    finally:
        task.cancel()
        look()


def _family(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                parents.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for member in found:
        found += parents.get(member, [])
    return found


def free_port() -> int:
    """A TCP port that nobody listens on, and that the system gives to no outgoing connection meanwhile."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first, 10_100))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def alive(pid: int) -> bool:
    """Whether a process of this id runs."""
    return Path(f"/proc/{pid}/stat").exists()


def outliving(pids: Iterable[int]) -> list[int]:
    """Which of these processes, whose server has ended, still run after END_SECONDS."""
    until = time.monotonic() + END_SECONDS
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < until:
        time.sleep(0.1)
    return left


def unix_sockets(pid: int) -> int:
    """How many unix sockets a process has open: one per worker, some for the store."""
    table = Path("/proc/net/unix").read_text().splitlines()[1:]
    known = {f"socket:[{line.split()[6]}]" for line in table}
    found = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found += str(link.readlink()) in known
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def peak_memory(pid: int) -> int:
    """The most memory that a process has held so far, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _cpu_seconds(pid: int) -> float:
    try:
        user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    except OSError:
        return 0.0
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _role(pid: int, server: int) -> str:
    if pid == server:
        return "http"
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "worker"
    return "store" if b"valkey" in command.split(b"\0")[0] else "worker"

"""One worker process as the pool sees it: started, given work, watched, ended."""

import asyncio
import ctypes
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import psutil

from service import errors
from service.engine.devices import Place
from service.engine.ticket import Ticket
from service.errors import ServiceError
from service.messages import protocol
from service.messages.jobs import Job, Recode, Refine, Render, Upload
from service.messages.protocol import (
    Begin,
    Cancel,
    Crew,
    Died,
    Failure,
    Forget,
    PlanWork,
    Progress,
    Ready,
    RecodeAnswer,
    RecodeWork,
    RefineAnswer,
    RefineWork,
    RenderAnswer,
    RenderWork,
    UploadAnswer,
    UploadWork,
)

STEADY_SECONDS = 1.0
"""A worker that was ready for so long is no failure, whatever ended it."""
LOAD_SECONDS = 300.0
"""Time that a new worker has until it is ready."""
WATCH_SECONDS = 0.25
STILL_SECONDS = 5.0
"""A worker that is late and has used no CPU for so long stands still."""
MEMORY_IN_JOB = 1.5
"""A worker whose job takes this many times the memory limit is killed at once."""

WorkerAnswer = UploadAnswer | RenderAnswer | RefineAnswer | RecodeAnswer | Failure

log = logging.getLogger(__name__)


class WorkerLink:
    """A running worker process and the socket to it.

    ``running`` holds the tickets that it works on, ``born`` when it was started, ``ready`` whether it has
    loaded its codec, ``workers`` how many are ready there, ``retiring`` whether it gets no more work because
    it has grown too large, ``paused`` whether it is made to stand still, ``answered`` how many jobs it has
    done, and ``reason`` why it was ended, if we did it.
    """

    def __init__(
        self,
        place: Place,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.place = place
        self.born = time.monotonic()
        self.ready = False
        self.workers = 0
        self.retiring = False
        self.paused = False
        self.answered = 0
        self.reason: str | None = None
        self.running: dict[int, Ticket] = {}
        self._batches: dict[int, set[int]] = {}
        self._used_before: dict[int, float] = {}
        self._threads = int(place.environment.get("OMP_NUM_THREADS", "1"))
        self._process = process
        self._reader = reader
        self._writer = writer
        self._ready_at = math.inf

    @classmethod
    async def start(cls, place: Place, begin: Begin) -> "WorkerLink":
        """Spawn a fresh Python process that is connected by a socket pair. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", place.module),
                *("--socket", str(theirs.fileno()), "--parent", str(os.getpid())),
                env=worker_environment(os.environ, place.environment),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_idle_child() if place.idle else None,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=2**20)
        link = cls(place, process, reader, writer)
        link._write(begin)
        return link

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @property
    def memory(self) -> int:
        """Resident bytes of the worker; 0 when it has ended."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    @property
    def cpu_seconds(self) -> float:
        """CPU time that the worker has used; 0 when it has ended."""
        try:
            times = psutil.Process(self.pid).cpu_times()
            return float(times.user + times.system)
        except psutil.Error:
            return 0.0

    @property
    def steady(self) -> bool:
        """True if it has done some good, or was ready to for a while."""
        return self.answered > 0 or time.monotonic() - self._ready_at > STEADY_SECONDS

    @property
    def able(self) -> bool:
        """True if it takes work, now or when it has done what it has."""
        return self.ready and not self.retiring and self.reason is None

    @property
    def free(self) -> bool:
        """True if it can take work now. A job that was tried before runs alone in its worker."""
        retrying = any(ticket.attempts > 1 for ticket in self.running.values())
        return self.able and not retrying and len(self._batches) < self.place.pipelines

    def send(self, tickets: Mapping[int, Ticket]) -> None:
        """Give one upload, or one batch of renderings, by number."""
        renders = [ticket.job for ticket in tickets.values() if isinstance(ticket.job, Render)]
        self.running.update(tickets)
        self._used_before |= dict.fromkeys(tickets, self.cpu_seconds)
        first = next(iter(tickets))
        self._batches[first] = set(tickets)
        if renders and self.place.remote:
            for number, render in zip(tickets, renders, strict=True):
                self._write(PlanWork(number, render.plan))
            return
        if renders:
            self._write(RenderWork(tuple(tickets), tuple(renders)))
            return
        self._write(_work(first, tickets[first].job))

    def cancel(self, ticket: Ticket) -> None:
        """Tell that nobody waits for a ticket any more, if it works on it and can give it up."""
        for number, running in self.running.items():
            if running is ticket and self.place.remote:
                self._write(Cancel(number))

    def forget(self, pictures: Collection[str] | None) -> None:
        """Tell that nothing decoded of these pictures is wanted any more; None: of any. Workers of a cluster
        hear of it themselves.
        """
        if self.ready and not self.place.remote:
            self._write(Forget(None if pictures is None else tuple(pictures)))

    def pause(self) -> None:
        """Make the process stand still, wherever it is, until :meth:`go_on`."""
        self.paused = True
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on where it stands."""
        self.paused = False
        self._signal(signal.SIGCONT)

    async def serve(
        self,
        max_payload: int,
        on_ready: Callable[[bytes], None],
        on_answer: Callable[[Ticket, WorkerAnswer], None],
        on_death: Callable[[Ticket, bool], None] = lambda ticket, again: None,
    ) -> None:
        """Pass on what the worker says, until it ends. ``on_death`` hears of a ticket whose worker behind
        this one has ended, and whether it is tried again.
        """
        try:
            while message := await protocol.read(self._reader, max_payload):
                if isinstance(message, Ready) and not self.ready:
                    self.ready, self._ready_at, self.workers = True, time.monotonic(), 1
                    on_ready(message.model_id)
                elif isinstance(message, Crew) and self.place.remote:
                    self.ready, self._ready_at, self.workers = (
                        message.workers > 0,
                        min(self._ready_at, time.monotonic()),
                        message.workers,
                    )
                    on_ready(message.model_id)
                elif isinstance(message, Died) and message.number in self.running:
                    number = message.number
                    on_death(self.running[number] if message.again else self._answered(number), message.again)
                elif isinstance(message, WorkerAnswer) and message.number in self.running:
                    ticket = self._answered(message.number)
                    on_answer(ticket, message)
                elif isinstance(message, Progress) and message.number in self.running:
                    self.running[message.number].told(message.share)
                else:
                    raise protocol.ProtocolError(f"unexpected {type(message).__name__}")
        except protocol.ProtocolError as error:
            log.error("worker %d: %s", self.place.index, error)
            self.kill("protocol")

    async def watch(
        self, max_seconds: Callable[[Ticket], float], max_memory: int, still_seconds: float = STILL_SECONDS
    ) -> None:
        """Kill the worker when it hangs, or takes too much memory (bytes, 0: no limit). Never returns.

        It hangs if it has had a job for longer than ``max_seconds`` and either has stood still for
        ``still_seconds`` or has used that much of the CPU. One that merely gets little of the CPU is left to
        get on, and while it is paused no time passes.
        """
        used = still = loading = 0.0
        before = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = time.monotonic()
            passed, before = 0.0 if self.paused else now - before, now
            seconds = self.cpu_seconds
            still, loading = still + passed, loading + passed
            if seconds > used or not self.running:
                used, still = seconds, 0.0
            memory = self.memory if max_memory else 0
            if not self.ready and loading > LOAD_SECONDS:
                self.kill("not ready")
            elif any(
                now - ticket.started > max_seconds(ticket)
                and (
                    still > still_seconds
                    or seconds - self._used_before[number] > self._threads * max_seconds(ticket)
                )
                for number, ticket in self.running.items()
            ):
                self.kill("hung")
            elif memory > max_memory:
                self.retiring = True
                if not self.running or memory > MEMORY_IN_JOB * max_memory:
                    self.kill("memory")

    def kill(self, reason: str) -> None:
        """End the process at once."""
        self.reason = self.reason or reason
        self._kill()

    async def close(self) -> int:
        """Make sure that the process is gone and reaped, and return its exit status."""
        self._writer.close()
        self._kill()
        status = await self._process.wait()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        return status

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Not Process.send_signal: it may reap the process itself, and then its exit status is lost.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _answered(self, number: int) -> Ticket:
        self.answered += 1
        self._used_before.pop(number, None)
        for first, numbers in self._batches.items():
            numbers.discard(number)
            if not numbers:
                del self._batches[first]
                break
        return self.running.pop(number)

    def _write(self, message: protocol.Message) -> None:
        self._writer.writelines(protocol.encode(message))


def _idle_child() -> Callable[[], None]:
    """What a child calls between fork and exec to run only when its core is idle, and to die with us from its
    very beginning: one that stands still cannot see to that itself.
    """
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()
    pr_set_pdeathsig = 1

    def in_child() -> None:
        prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    return in_child


def _work(number: int, job: Job) -> protocol.Message:
    """The message that gives a worker a job which is done by itself."""
    match job:
        case Upload():
            return UploadWork(number, job)
        case Refine():
            return RefineWork(number, job)
        case Recode():
            return RecodeWork(number, job)
        case Render():
            return RenderWork((number,), (job,))


def error_of(failure: Failure) -> ServiceError:
    """The error that a worker named, if it is one of ours, else a plain ServiceError."""
    kind = getattr(errors, failure.error, ServiceError)
    if not (isinstance(kind, type) and issubclass(kind, ServiceError)):
        kind = ServiceError
    return kind(failure.detail, failure.retry_after)


def worker_environment(environment: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker: ours without our settings and secrets, with its own place."""
    kept = {name: value for name, value in environment.items() if not name.startswith(("COMPASS_", "AWS_"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **own}

"""The worker process: loads the codec, works on what comes over its socket, ends with the socket.

Started by the pool as ``python -m service.worker.process --socket FD --parent PID``. It never outlives the
HTTP process: the kernel kills it when its parent dies, and it ends itself when the socket closes.
"""

import argparse
import ctypes
import logging
import math
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from model.errors import CompassError
from service.errors import ServiceError, WorkerFailed
from service.messages import protocol
from service.messages.jobs import Render, Rendered
from service.messages.protocol import (
    Begin,
    Failure,
    Forget,
    Message,
    Progress,
    RecodeAnswer,
    RecodeWork,
    RefineAnswer,
    RefineWork,
    RenderAnswer,
    RenderWork,
    UploadAnswer,
    UploadWork,
)
from service.settings import WorkerSettings

EXIT_DEVICE_FAULT = 70
EXIT_BROKEN = 71
PROGRESS_SECONDS = 0.5

log = logging.getLogger(__name__)


class Connection:
    """The worker's end of the socket; messages are sent whole from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._stream: BinaryIO = sock.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send one message; the process ends if nobody listens any more."""
        with self._lock:
            try:
                for piece in protocol.encode(message):
                    self._socket.sendall(piece)
            except OSError:
                os._exit(0)

    def messages(self) -> Iterator[Message]:
        """All messages until the other side closes."""
        while message := protocol.receive(self._stream):
            yield message


class Worker:
    """Runs jobs with ``tasks``, a :class:`service.worker.tasks.Tasks`, and sends the answers.

    Its ``render_batch(jobs)`` gives a Rendered or a ServiceError for each job, its ``refine(job, told)``
    tells what share of the search is over, and its ``forget(pictures)`` drops what it keeps of them. Tasks
    may have ``warm_up()``, called before they get work.
    """

    def __init__(self, tasks: Any, send: Callable[[Message], None]) -> None:
        self._tasks = tasks
        self._send = send

    def work(self, message: Message) -> None:
        """Do one message's jobs and send their answers."""
        if isinstance(message, UploadWork):
            result = self.guarded(self._tasks.upload, message.job)
            answer = Failure.of(result, message.number) if isinstance(result, ServiceError) else None
            self._send(answer or UploadAnswer(message.number, result))
        elif isinstance(message, RefineWork):
            told = self._progress(message.number)
            result = self.guarded(lambda job: self._tasks.refine(job, told), message.job)
            failure = Failure.of(result, message.number) if isinstance(result, ServiceError) else None
            self._send(failure or RefineAnswer(message.number, result))
        elif isinstance(message, RecodeWork):
            result = self.guarded(self._tasks.recode, message.job)
            failure = Failure.of(result, message.number) if isinstance(result, ServiceError) else None
            self._send(failure or RecodeAnswer(message.number, result))
        elif isinstance(message, Forget):
            self._tasks.forget(message.pictures)
        elif isinstance(message, RenderWork):
            for number, rendered in zip(message.numbers, self.rendered(message.jobs), strict=True):
                if isinstance(rendered, ServiceError):
                    self._send(Failure.of(rendered, number))
                else:
                    self._send(RenderAnswer(number, rendered))

    def _progress(self, number: int) -> Callable[[float], None]:
        """Tells how far a job is, at most once in PROGRESS_SECONDS."""
        last = -math.inf

        def told(share: float) -> None:
            nonlocal last
            if time.monotonic() - last >= PROGRESS_SECONDS:
                last = time.monotonic()
                self._send(Progress(number, share))

        return told

    def rendered(self, jobs: Sequence[Render]) -> Iterator[Rendered | ServiceError]:
        """The answer to each rendering of a batch; what is too large together is tried in halves."""
        results = self.guarded(self._tasks.render_batch, jobs)
        if not isinstance(results, ServiceError):
            yield from results
        elif len(jobs) == 1:
            yield results
        else:  # out of memory, or one bad job among good ones: smaller batches tell which
            half = len(jobs) // 2
            yield from self.rendered(jobs[:half])
            yield from self.rendered(jobs[half:])

    def guarded(self, task: Callable[[Any], Any], work: Any) -> Any:
        """What ``task`` gives for ``work``, or the ServiceError that stands for what it raised."""
        try:
            return task(work)
        except ServiceError as error:
            return error
        except Exception as error:
            log.exception("a job failed")
            if _is_device_fault(error):
                os._exit(EXIT_DEVICE_FAULT)  # nothing on this device can be trusted any more
            if _is_out_of_memory(error):
                return WorkerFailed("the worker has too little memory for this job")
            return ServiceError("the worker could not finish this job")


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _is_device_fault(error: Exception) -> bool:
    if _is_out_of_memory(error):
        return False
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)


def _receive(messages: Iterator[Message], inbox: "queue.SimpleQueue[Message]") -> None:
    """Fill the inbox; when the socket closes or speaks nonsense, end the process, busy or not."""
    try:
        for message in messages:
            inbox.put(message)
    finally:
        os._exit(0)


def _live_with(parent: int) -> None:
    """Die when the parent dies, and be the first to be killed when memory runs out."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    for number in (signal.SIGINT, signal.SIGTERM):  # the pool decides when we end
        signal.signal(number, signal.SIG_IGN)


def _stand_back(niceness: int) -> None:
    """Leave the CPU to others first. Beside a busy neighbour a picture then takes many times as long."""
    os.nice(niceness)
    if niceness:
        with suppress(OSError):  # where the kernel groups processes by session, it goes by the group's
            Path("/proc/self/autogroup").write_text(str(niceness))


def load_tasks(name: str, settings: WorkerSettings) -> Any:
    """The tasks named "module:class", made, and warmed up if they can be."""
    module, _, attribute = name.partition(":")
    tasks = getattr(import_module(module), attribute)(settings)
    if hasattr(tasks, "warm_up"):
        tasks.warm_up()
    return tasks


def _pipeline(worker: Worker, inbox: "queue.SimpleQueue[Message]") -> None:
    """Work on messages for ever. What goes wrong here was no job's fault: another worker must come."""
    try:
        while True:
            worker.work(inbox.get())
    except Exception:
        log.exception("the worker ends")
        os._exit(EXIT_BROKEN)


def main() -> None:
    """Work until the socket closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    _live_with(options.parent)
    logging.basicConfig(format=f"worker {os.getpid()} %(levelname)s %(message)s")
    connection = Connection(socket.socket(fileno=options.socket))
    messages = connection.messages()
    begin = next(messages, None)
    if not isinstance(begin, Begin):
        return
    _stand_back(begin.settings.niceness)
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(messages, inbox), daemon=True).start()
    try:
        tasks = load_tasks(begin.tasks, begin.settings)
        worker = Worker(tasks, connection.send)
        for _ in range(begin.pipelines - 1):
            threading.Thread(target=_pipeline, args=(worker, inbox), daemon=True).start()
        connection.send(protocol.Ready(tasks.model_id))
    except CompassError as error:  # such as weights that are missing
        log.error("the worker cannot start: %s", error)
        os._exit(EXIT_BROKEN)
    except Exception:
        log.exception("the worker cannot start")
        os._exit(EXIT_BROKEN)
    _pipeline(worker, inbox)


if __name__ == "__main__":
    main()

"""Tasks that do what a job tells them to, in a real worker process: answer, crash, hang, swell.

A rendering's stream, or the data of an upload or a refinement, is a JSON object: ``do`` names the act,
``seconds`` its length; ``once`` is a path: the act happens only while that file does not exist (it is then
made).
"""

import ctypes
import json
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from service.errors import BadPicture, ServiceError
from service.messages.jobs import Recode, Recoded, Refine, Refined, Render, Rendered, Upload, Uploaded
from service.settings import WorkerSettings


class FaultTasks:
    """The interface of service.worker.tasks.Tasks."""

    model_id = b"no model"

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._ballast: list[bytearray] = []

    def upload(self, job: Upload) -> Uploaded:
        self._act(json.loads(job.data))
        return Uploaded(job.data, 4, 3, "jpeg", alpha=(b"a", b"b"), seconds={"encode": 0.5})

    def refine(self, job: Refine, told: Callable[[float], None]) -> Refined:
        """``steps``: so many steps of a hundredth of a second, the beginning of each in the file ``log``."""
        order = json.loads(job.data)
        for step in range(order.get("steps", 0)):
            begin = time.monotonic()
            with Path(order["log"]).open("a") as log:
                print(begin, file=log)
            while time.monotonic() < begin + 0.01:
                sum(range(1000))
            told((step + 1) / order["steps"])
        self._act(order)
        return Refined(job.stream[:-1], 0.5)

    def recode(self, job: Recode) -> Recoded:
        self._act(json.loads(job.data))
        return Recoded(job.stream[::-1], 0.25)

    def forget(self, pictures: Collection[str] | None) -> None:
        """There is nothing to forget."""

    def render(self, job: Render) -> Rendered:
        """The body tells the process, its thread and environment, and the job's key."""
        self._act(json.loads(job.stream))
        body = {
            "pid": os.getpid(),
            "key": job.key.removesuffix(" stream"),
            "niceness": os.nice(0),
            "environment": {
                k: v for k, v in os.environ.items() if k.startswith(("CUDA", "OMP", "MALLOC", "THP"))
            },
            "secrets": [k for k in os.environ if k.startswith("COMPASS_")],
            "settings": sorted(vars(self._settings)),
            "time": time.monotonic(),
        }
        return Rendered(
            json.dumps(body).encode(), f"image/{job.plan.format}", *job.plan.size[::-1], layers_decoded=1
        )

    def render_batch(self, jobs: Sequence[Render]) -> list[Rendered | ServiceError]:
        """One after the other."""
        return [self._one(job) for job in jobs]

    def _one(self, job: Render) -> Rendered | ServiceError:
        try:
            return self.render(job)
        except ServiceError as error:
            return error

    def _act(self, order: dict[str, Any]) -> None:
        once = order.get("once")
        if once:
            if Path(once).exists():
                return
            Path(once).touch()
        match order.get("do"):
            case "sleep":
                time.sleep(order["seconds"])
            case "spin":
                until = time.monotonic() + order["seconds"]
                while time.monotonic() < until:
                    sum(range(1000))
            case "starve":  # as a worker beside busy neighbours: it gets on, with little of the CPU
                until = time.monotonic() + order["seconds"]
                while time.monotonic() < until:
                    time.sleep(0.1)
                    sum(range(1_000_000))
            case "refuse":
                raise BadPicture("the picture is damaged", retry_after=3.5)
            case "bug":
                raise KeyError("private detail")
            case "out of memory":
                raise MemoryError
            case "device fault":
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            case "crash":
                ctypes.string_at(0)
            case "exit":
                os._exit(order.get("status", 3))
            case "hang with the interpreter lock":
                ctypes.PyDLL(None).sleep(3600)
            case "grow":
                ballast = bytearray(order["bytes"])
                ballast[::4096] = b"x" * len(range(0, len(ballast), 4096))
                self._ballast.append(ballast)
                time.sleep(order.get("then", 0))
            case "nonsense":
                for link in Path("/proc/self/fd").iterdir():
                    if link.is_socket():
                        os.write(int(link.name), b"GET / HTTP/1.1\r\n\r\n")


class BatchTasks(FaultTasks):
    """Renders batches of at most two; more are too much for its memory."""

    def render_batch(self, jobs: Sequence[Render]) -> list[Rendered | ServiceError]:
        if len(jobs) > 2:
            raise MemoryError
        return super().render_batch(jobs)

"""A few requests from a process of its own, which stays idle while another makes the load.

A program that keeps hundreds of requests in flight measures its own delays as well; this one's clock is
right. It asks for /healthz and, rarely, for a picture, so that it is no load of its own.
"""

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection

from benchmarks.load.traffic import TIMEOUT_SECONDS, Hit, Shot, Traffic

HEALTH_SECONDS = 0.1
READ_SECONDS = 2.0
"""Pauses between two questions."""


def ask(port: int, shot: Shot) -> Hit:
    """One request on a connection of its own; status 0 stands for no answer."""
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        method = "GET" if shot.body is None else "POST"
        kind = {} if shot.body is None else {"Content-Type": "image/jpeg"}
        connection.request(method, shot.path, shot.body, {"Accept": shot.accept, **kind})
        answer = connection.getresponse()
        answer.read()
        status = answer.status
    except (OSError, http.client.HTTPException):
        status = 0
    finally:
        connection.close()
    return Hit(shot, status, time.perf_counter() - begin)


def _health() -> Shot:
    return Shot("health", "/healthz")


def _probe(port: int, traffic: Traffic, pipe: Connection) -> None:
    """Ask until the other end of the pipe says enough, then send all hits."""
    hits: list[Hit] = []
    enough = threading.Event()

    def go_on(draw: Callable[[], Shot], pause: float) -> None:
        hits.append(ask(port, draw()))
        while not enough.wait(pause):
            hits.append(ask(port, draw()))

    reading = replace(traffic, random=random.Random(2), upload_share=0.0)  # other requests than the load's
    work = (_health, HEALTH_SECONDS), (reading.draw, READ_SECONDS)
    threads = [threading.Thread(target=go_on, args=each) for each in work]
    for thread in threads:
        thread.start()
    pipe.send(None)  # under way
    pipe.recv()
    enough.set()
    for thread in threads:
        thread.join()
    pipe.send([Hit(Shot(hit.shot.route, hit.shot.path), hit.status, hit.seconds) for hit in hits])


@dataclass
class Probes:
    """What was seen; empty until the probing has ended."""

    hits: list[Hit] = field(default_factory=list)


@contextmanager
def probing(port: int, traffic: Traffic) -> Iterator[Probes]:
    """Probe a server on this machine while the body of the ``with`` statement runs."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    probes = Probes()
    process = context.Process(target=_probe, args=(port, traffic, theirs))
    process.start()
    ours.recv()
    try:
        yield probes
    finally:
        ours.send(None)
        probes.hits = ours.recv()
        process.join()

"""A process that speaks as :mod:`service.cluster.bulk` does, and does what jobs tell it to, without Ray.

The act stands in a job's key: ``answer`` after a moment, ``wait`` (until it is cancelled), ``die`` (its
worker dies twice), ``end`` (the first process ends; the next answers: ``COMPASS_DATA`` tells which it is).
"""

import argparse
import asyncio
import os
import socket
from pathlib import Path

from service.messages import protocol
from service.messages.jobs import Recoded, Refined
from service.messages.protocol import (
    Begin,
    Cancel,
    Crew,
    Died,
    Failure,
    Message,
    RecodeAnswer,
    RecodeWork,
    RefineAnswer,
    RefineWork,
)


def acts(work: RefineWork | RecodeWork) -> list[Message]:
    """What is said of a job."""
    number = work.number
    answer: Message = RecodeAnswer(number, Recoded(b"new", 0.5))
    if isinstance(work, RefineWork):
        answer = RefineAnswer(number, Refined(b"small", 0.5))
    match work.job.key:
        case "wait":
            return []
        case "die":
            return [Died(number, True), Died(number, False)]
        case "end":
            note = Path(os.environ["COMPASS_DATA"]) / "ended"
            if not note.exists():
                note.touch()
                os._exit(72)
    return [answer]


async def speak(descriptor: int) -> None:
    """Say what the jobs tell to say, until the socket closes."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))

    async def say(*messages: Message, pause: float = 0.0) -> None:
        await asyncio.sleep(pause)
        for one in messages:
            writer.writelines(protocol.encode(one))

    tasks = set()
    while message := await protocol.read(reader, protocol.MAX_PAYLOAD_BYTES):
        if isinstance(message, Begin):
            await say(Crew(3, b""))
        elif isinstance(message, RefineWork | RecodeWork):
            tasks.add(asyncio.create_task(say(*acts(message), pause=0.3)))
        elif isinstance(message, Cancel):
            await say(Failure(message.number, "WorkerFailed", "given up"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int)
    parser.add_argument("--parent", type=int)
    asyncio.run(speak(parser.parse_args().socket))

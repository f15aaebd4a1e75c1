"""A process that speaks as :mod:`service.cluster.bridge` does, and does what plans tell it to, without Ray.

The act stands in a plan's picture: ``answer``, ``wait`` (until it is cancelled), ``die`` (its replica dies,
is tried again, dies), ``limp`` (dies once), ``leave`` (the cluster has no replica any more), ``end`` (the
bridge ends).
"""

import argparse
import asyncio
import os
import socket

from service.messages import protocol
from service.messages.jobs import Rendered
from service.messages.protocol import Begin, Cancel, Crew, Died, Failure, Message, PlanWork, RenderAnswer


def acts(work: PlanWork) -> list[Message]:
    """What is said of a job."""
    number, plan = work.number, work.plan
    answer = RenderAnswer(number, Rendered(b"body", f"image/{plan.format}", 4, 3, 1, {"fetch": 0.1}, 77))
    match plan.picture:
        case "answer":
            return [answer]
        case "limp":
            return [Died(number, True), answer]
        case "die":
            return [Died(number, True), Died(number, False)]
        case "leave":
            return [Crew(0, b""), answer]
        case "end":
            os._exit(72)
    return []


async def speak(descriptor: int) -> None:
    """Say what the plans tell to say, until the socket closes."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    while message := await protocol.read(reader, protocol.MAX_PAYLOAD_BYTES):
        said: list[Message] = []
        if isinstance(message, Begin):
            said = [Crew(3, b"no model")]
        elif isinstance(message, PlanWork):
            said = acts(message)
        elif isinstance(message, Cancel):
            said = [Failure(message.number, "WorkerFailed", "given up")]
        for one in said:
            writer.writelines(protocol.encode(one))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int)
    parser.add_argument("--parent", type=int)
    asyncio.run(speak(parser.parse_args().socket))

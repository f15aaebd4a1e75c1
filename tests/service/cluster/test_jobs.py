"""Jobs that a bridge is given and told to give up, without a cluster."""

import asyncio

import pytest

from service.messages import protocol
from service.messages.jobs import Upload
from service.messages.protocol import Cancel, Failure, UploadWork
from service.settings import Settings

bridge = pytest.importorskip("service.cluster.bridge")

JOB = Upload("upload:x", b"data", 80, Settings().ladder_of(None))


class FakeWriter:
    """Keeps what is written, as a socket's other end reads it."""

    def __init__(self):
        self.reader = asyncio.StreamReader()

    def writelines(self, parts):
        for part in parts:
            self.reader.feed_data(bytes(part))

    async def messages(self):
        self.reader.feed_eof()
        found = []
        while message := await protocol.read(self.reader, protocol.MAX_PAYLOAD_BYTES):
            found.append(message)
        return found


class FakeHandle:
    """A replica that is asked and never answers."""

    def __init__(self):
        self.responses = []

    def options(self, **how):
        return self

    def remote(self, job):
        self.responses.append(asyncio.Future())
        return self.responses[-1]


class FakeCluster:
    def __init__(self):
        self.handle = FakeHandle()


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


def frames(message):
    return b"".join(map(bytes, protocol.encode(message)))


@pytest.mark.parametrize("begun", [False, True])
async def test_a_job_that_is_given_up_is_answered_once_and_gone(begun):
    """Also before its task has begun: then its frame and that of its end were read at once."""
    cluster, writer, reader = FakeCluster(), FakeWriter(), asyncio.StreamReader()
    passing = bridge.Bridge(cluster, writer)
    receiving = asyncio.create_task(passing.receive(reader))
    reader.feed_data(frames(UploadWork(7, JOB)) + (b"" if begun else frames(Cancel(7))))
    await settled()
    if begun:
        reader.feed_data(frames(Cancel(7)))
        await settled()
    reader.feed_eof()
    await receiving
    (answer,) = await writer.messages()
    assert isinstance(answer, Failure)
    assert (answer.number, answer.detail) == (7, "given up")
    assert not passing._jobs
    assert len(cluster.handle.responses) == begun
    assert all(response.cancelled() for response in cluster.handle.responses)

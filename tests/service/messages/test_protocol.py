"""Frames between HTTP process and worker: what goes in comes out, and nothing else gets through."""

import asyncio
import json
import struct
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import Box, Size
from model.stream.ladder import Ladder
from service.messages import protocol
from service.messages.jobs import Render, Rendered, Upload, Uploaded
from service.messages.plans import RenderPlan
from service.messages.protocol import ProtocolError
from service.settings import Settings

PLAN = RenderPlan("key", "00ff", 2, Size(480, 640), "avif", 60, crop=Box(1, 2, 3, 4), rotation=90)
RENDER = Render(PLAN, b"\x00stream", alpha=b"")
MESSAGES: list[protocol.Message] = [
    protocol.Begin(Settings(worker_cache_bytes=7).for_worker, "service.worker.tasks:Tasks", 2),
    protocol.Ready(b"model id"),
    protocol.UploadWork(7, Upload("name", b"\xff\xd8" * 1000, 75, Ladder((320, 640)))),
    protocol.RenderWork((1, 2), (RENDER, RENDER)),
    protocol.UploadAnswer(3, Uploaded(b"CMPS", 4, 3, "jpeg", alpha=(b"one", b"", b"three"), average="#fff")),
    protocol.RenderAnswer(2**40, Rendered(b"body", "image/avif", 4, 3, 1, seconds={"entropy": 0.25})),
    protocol.Failure(5, "Overloaded", "a sentence with \u00fc", 2.5),
]


def frame(header: bytes, payload: bytes = b"") -> bytes:
    return struct.pack("<IQ", len(header), len(payload)) + header + payload


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_way(message: protocol.Message) -> None:
    assert protocol.receive(BytesIO(b"".join(protocol.encode(message)))) == message


async def test_messages_are_read_one_after_another_until_the_end() -> None:
    reader = asyncio.StreamReader()
    for message in MESSAGES:
        for piece in protocol.encode(message):
            reader.feed_data(piece)
    reader.feed_eof()
    read = [await protocol.read(reader, 2**20) for _ in MESSAGES]
    assert read == MESSAGES
    assert await protocol.read(reader, 2**20) is None


async def test_a_frame_cut_short_is_an_end_and_not_a_message() -> None:
    data = b"".join(protocol.encode(MESSAGES[3]))
    for cut in (0, 5, 12, 40, len(data) - 1):
        reader = asyncio.StreamReader()
        reader.feed_data(data[:cut])
        reader.feed_eof()
        assert await protocol.read(reader, 2**20) is None
        assert protocol.receive(BytesIO(data[:cut])) is None


async def test_a_frame_over_the_limit_is_refused_before_its_payload_comes() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(struct.pack("<IQ", 10, 2**60))
    with pytest.raises(ProtocolError, match="over the limit"):
        await protocol.read(reader, 2**30)
    reader = asyncio.StreamReader()
    reader.feed_data(struct.pack("<IQ", 2**31, 0))
    with pytest.raises(ProtocolError, match="over the limit"):
        await protocol.read(reader, 2**30)


def _answer(**changes: object) -> bytes:
    content = {
        "kind": "RenderAnswer",
        "fields": {
            "number": 1,
            "result": {
                "body": {"blob": 0},
                "media_type": "image/png",
                "width": 4,
                "height": 3,
                "layers_decoded": 1,
                "seconds": {},
            },
        },
        "blobs": [4],
    }
    return json.dumps({**content, **changes}).encode()


def test_the_unchanged_answer_of_the_next_test_is_right() -> None:
    message = protocol.decode(_answer(), b"body")
    assert isinstance(message, protocol.RenderAnswer)
    assert message.result.body == b"body"


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (b"", b""),
        (b"\xff\xfe", b""),
        (b"[]", b""),
        (b"null", b""),
        (b"[" * 100_000, b""),
        (_answer(kind="Nothing"), b"body"),
        (_answer(kind=["RenderAnswer"]), b"body"),
        (_answer(fields={}), b"body"),
        (_answer(fields={"number": "x", "result": {}}), b"body"),
        (_answer(blobs=[5]), b"body"),
        (_answer(blobs=[2]), b"body"),
        (_answer(blobs=[-4, 8]), b"body"),
        (_answer(blobs=[True] * 4), b"body"),
        (_answer(blobs="four"), b"body"),
        (_answer(blobs=[0] * 2000 + [4]), b"body"),
        (_answer().replace(b'{"blob": 0}', b'{"blob": 1}'), b"body"),
        (_answer().replace(b'{"blob": 0}', b'{"blob": "0"}'), b"body"),
        (_answer().replace(b'"seconds": {}', b'"seconds": {"x": NaN}'), b"body"),
        (_answer().replace(b'"seconds": {}', b'"seconds": {"x": []}'), b"body"),
        (_answer().replace(b'"width": 4', b'"width": 4.5'), b"body"),
    ],
)
def test_bytes_that_are_no_message_are_refused(header: bytes, payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode(header, payload)


@given(header=st.binary(max_size=200), payload=st.binary(max_size=20))
def test_random_bytes_are_refused(header: bytes, payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.receive(BytesIO(frame(header, payload)))


@given(data=st.data())
def test_a_changed_frame_is_a_message_or_refused(data: st.DataObject) -> None:
    message = data.draw(st.sampled_from(MESSAGES))
    pieces = protocol.encode(message)
    header = bytearray(pieces[1])
    at = data.draw(st.integers(0, len(header) - 1))
    header[at] = data.draw(st.integers(0, 255))
    with suppress(ProtocolError):
        protocol.decode(bytes(header), b"".join(pieces[2:]))


def test_a_header_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(ValueError, match="header of"):
        protocol.encode(protocol.Failure(1, "BadPicture", "x" * 2**21))

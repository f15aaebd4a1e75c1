"""The frames between the HTTP process and a worker, over a unix socket.

    frame    header length (4 bytes), payload length (8), header (JSON), payload (the blobs)

The header names the message and holds its fields; each ``bytes`` field is replaced by its place
among the blobs. Nothing is ever unpickled: a worker has touched hostile pictures, so the HTTP
process checks the sizes and types of all that it receives.
"""

import asyncio
import json
import struct
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, BinaryIO, get_args

from pydantic import TypeAdapter, ValidationError

from service.errors import ServiceError
from service.messages.jobs import Recode, Recoded, Refine, Refined, Render, Rendered, Upload, Uploaded
from service.messages.plans import RenderPlan
from service.settings import WorkerSettings

MAX_HEADER_BYTES = 2**20
MAX_BLOBS = 1024
MAX_PAYLOAD_BYTES = 2**34

_LENGTHS = struct.Struct("<IQ")


class ProtocolError(Exception):
    """The other side sent bytes that are not a frame, or not the message that they claim to be."""


@dataclass(frozen=True)
class Begin:
    """First message to a worker: the settings that it needs, its tasks ("module:class") and how to run them.

    ``pipelines`` batches are worked on at the same time, each on a thread of its own.
    """

    settings: WorkerSettings
    tasks: str
    pipelines: int


@dataclass(frozen=True)
class Ready:
    """The worker has loaded its codec, whose weights have that id, and waits for work."""

    model_id: bytes


@dataclass(frozen=True)
class UploadWork:
    """One upload to code; ``number`` comes back with the answer."""

    number: int
    job: Upload


@dataclass(frozen=True)
class RenderWork:
    """Renderings to work on as one batch; each number comes back with its own answer."""

    numbers: tuple[int, ...]
    jobs: tuple[Render, ...]


@dataclass(frozen=True)
class PlanWork:
    """A plan to carry out by one who reads the store itself; ``number`` comes back with a RenderAnswer."""

    number: int
    plan: RenderPlan


@dataclass(frozen=True)
class Cancel:
    """Nobody waits for the job of that number any more. It is answered all the same."""

    number: int


@dataclass(frozen=True)
class Forget:
    """Nothing decoded of these pictures is wanted any more; None: of any picture. It is not answered."""

    pictures: tuple[str, ...] | None


@dataclass(frozen=True)
class Crew:
    """So many workers are ready in the cluster now, with weights of that id."""

    workers: int
    model_id: bytes


@dataclass(frozen=True)
class Died:
    """A worker of the cluster ended while it had that job, which is tried ``again``, or fails."""

    number: int
    again: bool


@dataclass(frozen=True)
class RefineWork:
    """One picture to refine; ``number`` comes back with the answer."""

    number: int
    job: Refine


@dataclass(frozen=True)
class RecodeWork:
    """One picture to code anew; ``number`` comes back with the answer."""

    number: int
    job: Recode


@dataclass(frozen=True)
class Progress:
    """So much of the job of that number is done, 0 to 1."""

    number: int
    share: float


@dataclass(frozen=True)
class UploadAnswer:
    """The upload of that number is coded."""

    number: int
    result: Uploaded


@dataclass(frozen=True)
class RenderAnswer:
    """The rendering of that number is done."""

    number: int
    result: Rendered


@dataclass(frozen=True)
class RefineAnswer:
    """The search of that number has ended."""

    number: int
    result: Refined


@dataclass(frozen=True)
class RecodeAnswer:
    """The picture of that number is coded anew."""

    number: int
    result: Recoded


@dataclass(frozen=True)
class Failure:
    """The job of that number raised ``error``, the name of a class in :mod:`service.errors`."""

    number: int
    error: str
    detail: str
    retry_after: float | None = None

    @classmethod
    def of(cls, error: ServiceError, number: int = 0) -> "Failure":
        """What tells of an error that a job raised."""
        return cls(number, type(error).__name__, error.detail, error.retry_after)


Message = (
    Begin
    | Ready
    | UploadWork
    | RenderWork
    | PlanWork
    | Cancel
    | Forget
    | Crew
    | Died
    | RefineWork
    | RecodeWork
    | Progress
    | UploadAnswer
    | RenderAnswer
    | RefineAnswer
    | RecodeAnswer
    | Failure
)

_KINDS: dict[str, TypeAdapter[Message]] = {kind.__name__: TypeAdapter(kind) for kind in get_args(Message)}


def encode(message: Message) -> list[bytes]:
    """The pieces of a frame, to be written one after another. Raises ValueError if it is too large."""
    blobs: list[bytes] = []
    content = {"kind": type(message).__name__, "fields": _without_blobs(message, blobs)}
    header = json.dumps({**content, "blobs": [len(blob) for blob in blobs]}, allow_nan=False).encode()
    if len(header) > MAX_HEADER_BYTES or len(blobs) > MAX_BLOBS:
        raise ValueError(f"a message with a header of {len(header)} bytes and {len(blobs)} blobs")
    return [_LENGTHS.pack(len(header), sum(map(len, blobs))), header, *blobs]


def decode(header: bytes, payload: bytes) -> Message:
    """The message of a frame. Raises ProtocolError."""
    try:
        content = json.loads(header, parse_constant=_refuse)
        kind, lengths = content["kind"], content["blobs"]
        blobs = _split(payload, lengths)
        return _KINDS[kind].validate_python(_with_blobs(content["fields"], blobs))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, ValidationError) as error:
        raise ProtocolError(f"not a message: {type(error).__name__}") from error


async def read(reader: asyncio.StreamReader, max_payload: int) -> Message | None:
    """The next message, or None when the other side has closed. Raises ProtocolError.

    ``max_payload`` bounds the bytes that are taken in for one message.
    """
    try:
        header, payload = _check_lengths(await reader.readexactly(_LENGTHS.size), max_payload)
        return decode(await reader.readexactly(header), await reader.readexactly(payload))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def receive(stream: BinaryIO) -> Message | None:
    """As :func:`read`, from a blocking stream."""
    try:
        header, payload = _check_lengths(_exactly(stream, _LENGTHS.size), MAX_PAYLOAD_BYTES)
        return decode(_exactly(stream, header), _exactly(stream, payload))
    except (EOFError, ConnectionError):
        return None


def _check_lengths(start: bytes, max_payload: int) -> tuple[int, int]:
    header, payload = _LENGTHS.unpack(start)
    if header > MAX_HEADER_BYTES or payload > max_payload:
        raise ProtocolError(f"a frame of {header} + {payload} bytes is over the limit")
    return header, payload


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _without_blobs(value: Any, blobs: list[bytes]) -> Any:
    if isinstance(value, bytes):
        blobs.append(value)
        return {"blob": len(blobs) - 1}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _without_blobs(getattr(value, field.name), blobs) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [_without_blobs(item, blobs) for item in value]
    if isinstance(value, dict):
        return {key: _without_blobs(item, blobs) for key, item in value.items()}
    return value


def _with_blobs(value: Any, blobs: list[bytes]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"blob"}:
            return blobs[value["blob"]]
        return {key: _with_blobs(item, blobs) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_blobs(item, blobs) for item in value]
    return value


def _split(payload: bytes, lengths: list[int]) -> list[bytes]:
    if len(lengths) > MAX_BLOBS or any(type(n) is not int or n < 0 for n in lengths):
        raise ValueError("blob lengths")
    if sum(lengths) != len(payload):
        raise ValueError("the blobs do not fill the payload")
    if len(lengths) == 1:
        return [payload]
    blobs, at = [], 0
    for length in lengths:
        blobs.append(payload[at : at + length])
        at += length
    return blobs


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")

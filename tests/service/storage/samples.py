"""A picture to store: two layers, and alpha planes that nobody decodes."""

from dataclasses import replace
from zlib import crc32

from model.stream.container import CodedLayer, read_header, write
from service.storage.records import Facts, Record

LAYERS = [
    CodedLayer(64, 48, 75, b"hyper", [b"a" * 100]),
    CodedLayer(640, 480, 75, b"hyper", [b"b" * 4000] * 6),
]
STREAM = write(b"model-id", 256, LAYERS)
PLANES = (b"plane 0", b"plane 01")
FACTS = Facts(1000.5, source_bytes=9, source_format="PNG", quality=75, thumbhash="x", average="#000000")


def record(number: int = 0, created: float = 1000.5, **facts) -> Record:
    """A picture of its own id, with ``STREAM``."""
    name = "abcdefgh"[number] * 32
    return Record(name, read_header(STREAM), replace(FACTS, created=created, **facts))


def of_version(version: int) -> bytes:
    """The stream as another version of the format may have it: a byte differs, and the CRC fits."""
    stream = bytearray(STREAM)
    stream[4] = version
    end = read_header(STREAM).length - 4
    stream[end : end + 4] = crc32(stream[:end]).to_bytes(4, "little")
    return bytes(stream)

"""Streams made wrong in every way, many with checksums that fit again so that deeper layers are reached."""

import struct
from collections.abc import Sequence
from random import Random
from zlib import crc32

import numpy as np

from model.codec.codec import Codec
from model.codec.graphics import encode_avif, encode_lossless
from model.geometry import Size
from tests.model.tiny import picture_of

FIXED, ENTRY, INDEX_ENTRY = 16, 13, 7
SIZES = (
    [Size(1, 1)],
    [Size(40, 50)],
    [Size(30, 41), Size(61, 97)],
    [Size(50, 60), Size(127, 131), Size(290, 300)],
)


def whole_streams(codec: Codec) -> list[bytes]:
    """The streams that are made wrong: one for each of ``SIZES``, and a graphic of each kind."""
    coded = [codec.encode(picture_of(sizes[-1]), sizes, 30 + 20 * i) for i, sizes in enumerate(SIZES)]
    drawing = picture_of(Size(20, 30)) & np.uint8(192)
    return [*coded, encode_lossless(drawing), encode_avif(drawing, 50, 60)]


def repair(stream: bytes) -> bytes:
    """The stream with every CRC recomputed, as far as its fields say where they are."""
    data = bytearray(stream)
    if len(data) < FIXED:
        return bytes(data)
    layers, edge = data[5], 64 * data[6]
    end = FIXED + ENTRY * layers
    offset = end + 4
    if data[7] and end + 4 <= len(data) and layers:  # a graphic: one layer, which is a file
        (length,) = struct.unpack_from("<I", data, FIXED + 5)
        struct.pack_into("<I", data, FIXED + 9, crc32(data[offset : offset + length]))
        layers = 0
    for k in range(layers):
        at = FIXED + ENTRY * k
        if at + ENTRY > len(data) or not edge:
            break
        width, height, _, length, _ = struct.unpack_from("<HHBII", data, at)
        substreams = 1 + -(-width // edge) * -(-height // edge)
        body = offset + substreams * INDEX_ENTRY
        if body > len(data):
            break
        for entry in range(offset, body, INDEX_ENTRY):
            size = int.from_bytes(data[entry + 4 : entry + 7], "little")
            start, body = body, body + size
            struct.pack_into("<I", data, entry, crc32(data[start:body]))
        index = data[offset : offset + substreams * INDEX_ENTRY]
        struct.pack_into("<I", data, at + 9, crc32(index))
        offset += length
    if end + 4 <= len(data):
        struct.pack_into("<I", data, end, crc32(data[:end]))
    return bytes(data)


def flip(random: Random, data: bytearray, _: bytes) -> bytearray:
    """One bit."""
    at = random.randrange(len(data))
    data[at] ^= 1 << random.randrange(8)
    return data


def overwrite(random: Random, data: bytearray, _: bytes) -> bytearray:
    """A run of bytes, random or all alike."""
    at, count = random.randrange(len(data)), random.randint(1, 40)
    alike = random.choice([None, 0, 255])
    new = [random.randrange(256) if alike is None else alike for _ in range(count)]
    data[at : at + count] = bytes(new)
    return data


def cut(random: Random, data: bytearray, _: bytes) -> bytearray:
    """The end is missing."""
    return data[: random.randrange(len(data))]


def delete(random: Random, data: bytearray, _: bytes) -> bytearray:
    """A run of bytes is missing."""
    at = random.randrange(len(data))
    del data[at : at + random.randint(1, 20)]
    return data


def insert(random: Random, data: bytearray, other: bytes) -> bytearray:
    """Bytes of another stream in between."""
    at, start = random.randrange(len(data)), random.randrange(len(other))
    data[at:at] = other[start : start + random.randint(1, 60)]
    return data


def splice(random: Random, data: bytearray, other: bytes) -> bytearray:
    """The start of one stream and the end of another."""
    at = random.randrange(len(data))
    start = random.choice([at, random.randrange(len(other))])
    return data[:at] + other[start:]


def header_field(random: Random, data: bytearray, _: bytes) -> bytearray:
    """A field of the header gets a value from its corners."""
    if len(data) < FIXED + ENTRY:
        return data
    at = random.choice([4, 5, 6, 7, 8])
    if random.random() < 0.8:
        at = FIXED + ENTRY * random.randrange(max(1, data[5] % 17)) + random.choice([0, 1, 2, 3, 4, 5, 6, 8])
    if at < len(data):
        data[at] = random.choice([0, 1, 2, 3, 4, 63, 64, 100, 127, 128, 254, 255, random.randrange(256)])
    return data


def tile_size(random: Random, data: bytearray, _: bytes) -> bytearray:
    """A byte where a layer's index may be."""
    start = FIXED + ENTRY * (data[5] if len(data) > 5 else 0) + 4
    at = start + random.randrange(28)
    if at < len(data):
        data[at] = random.randrange(256)
    return data


MUTATIONS = (flip, overwrite, cut, delete, insert, splice, header_field, tile_size)


def mutate(random: Random, streams: Sequence[bytes]) -> bytes:
    """One to four mutations of one of the streams, two thirds of the results with fitting CRCs."""
    data, other = bytearray(random.choice(streams)), random.choice(streams)
    for _ in range(random.randint(1, 4)):
        if data:
            data = random.choice(MUTATIONS)(random, data, other)
    return repair(bytes(data)) if random.random() < 2 / 3 else bytes(data)

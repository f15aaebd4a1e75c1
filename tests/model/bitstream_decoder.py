"""A decoder of latents, written from ``docs/bitstream.md`` alone, with numpy and the standard library.

It imports nothing of this project: it is here to show that the page suffices. It is slow, and reads
whole layers only. Names in capitals are the page's. Everything here is integer arithmetic.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from zlib import crc32

import numpy as np

Array = np.ndarray[Any, Any]
TYPES = {"F16": "<f2", "F32": "<f4", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U16": "<u2"}


class Refused(Exception):
    """The bytes are not what the page describes."""


def check(condition: bool, what: str) -> None:
    """Refuse the bytes unless a condition holds."""
    if not condition:
        raise Refused(what)


def number(data: bytes) -> int:
    """An unsigned number, little endian."""
    return int.from_bytes(data, "little")


# ---------------------------------------------------------------- Weight file


@dataclass
class Weights:
    """The tensors of a weight file by name, its configuration and its model id."""

    model_id: bytes
    config: dict[str, Any]
    tensors: dict[str, Array]


def read_weights(data: bytes) -> Weights:
    """Read a weight file."""
    length = number(data[:8])
    header = json.loads(data[8 : 8 + length])
    run = json.loads(header.pop("__metadata__")["run"])
    tensors = {}
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        numbers = np.frombuffer(data[8 + length + first : 8 + length + end], TYPES[entry["dtype"]])
        tensors[name] = numbers.reshape(entry["shape"])
    return Weights(sha256(data).digest()[:8], run["config"], tensors)


# ---------------------------------------------------------------- Header, layers and tiles


@dataclass
class Layer:
    """A layer's entry in the header, and where its bytes begin."""

    width: int
    height: int
    quality: int
    length: int
    crc: int
    offset: int


@dataclass
class Header:
    """The header of a stream."""

    tile: int
    model_id: bytes
    layers: list[Layer]


def read_header(stream: bytes) -> Header:
    """Read and check the header."""
    check(stream[:4] == b"CMPS", "magic number")
    check(stream[4] == 2, "version")
    count = stream[5]
    check(1 <= count <= 16, "number of layers")
    length = 16 + 13 * count + 4
    check(len(stream) >= length, "length of the header")
    check(crc32(stream[: length - 4]) == number(stream[length - 4 : length]), "CRC of the header")
    check(stream[7] == 0, "flags")
    check(stream[6] >= 1, "tile edge")
    layers: list[Layer] = []
    offset = length
    for at in range(16, 16 + 13 * count, 13):
        entry = stream[at : at + 13]
        layer = Layer(
            number(entry[0:2]), number(entry[2:4]), entry[4], number(entry[5:9]), number(entry[9:13]), offset
        )
        check(layer.width >= 1 and layer.height >= 1 and 1 <= layer.quality <= 100, "a layer's entry")
        layers.append(layer)
        offset += layer.length
    return Header(64 * stream[6], stream[8:16], layers)


def read_substreams(stream: bytes, header: Header, layer: Layer) -> list[bytes]:
    """The substreams of a layer: its hyper-latents, then its tiles row by row."""
    rows, columns = -(-layer.height // header.tile), -(-layer.width // header.tile)
    data = stream[layer.offset : layer.offset + layer.length]
    check(len(data) == layer.length, "length of the layer")
    at = 7 * (1 + rows * columns)
    index = data[:at]
    check(crc32(index) == layer.crc, "CRC of the index")
    substreams = []
    for place in range(0, len(index), 7):
        size = number(index[place + 4 : place + 7])
        substream = data[at : at + size]
        check(crc32(substream) == number(index[place : place + 4]), "CRC of a substream")
        substreams.append(substream)
        at += size
    check(at == layer.length, "sum of the lengths")
    return substreams


# ---------------------------------------------------------------- Entropy coding


@dataclass
class Tables:
    """A set of tables: the frequencies and the smallest symbol of each; the first ``skip`` are not coded."""

    frequencies: list[list[int]]
    offsets: list[int]
    skip: int


def read_tables(weights: Weights, name: str) -> Tables:
    """The set of tables ``tables.NAME``."""
    arrays = {
        part: weights.tensors[f"tables.{name}.{part}"].tolist()
        for part in ("lengths", "offsets", "frequencies", "skip")
    }
    tables, first = [], 0
    for length in arrays["lengths"]:
        tables.append(arrays["frequencies"][first : first + length])
        first += length
    return Tables(tables, arrays["offsets"], arrays["skip"][0])


class String:
    """The state while a string is decoded."""

    def __init__(self, data: bytes):
        head = 0 if not data else 3 if len(data) % 2 else 4
        check(len(data) >= head and (not head or data[head - 1] != 0), "head of a string")
        self.x = number(data[:head]) if head else 65536
        self.words: Iterator[int] = (number(data[i : i + 2]) for i in range(head, len(data), 2))

    def refill(self) -> None:
        """Read a word if the state is small."""
        if self.x < 65536:
            word = next(self.words, None)
            if word is None:
                raise Refused("truncated string")
            self.x = 65536 * self.x + word

    def bits(self, k: int) -> int:
        """A number of ``k`` bits."""
        value = self.x % 2**k
        self.x //= 2**k
        self.refill()
        return value

    def symbol(self, frequencies: list[int], offset: int) -> int:
        """One symbol."""
        slot, n = self.x % 16384, len(frequencies)
        i, below = 0, 0
        while slot >= below + frequencies[i]:
            below += frequencies[i]
            i += 1
        self.x = frequencies[i] * (self.x // 16384) + slot - below
        self.refill()
        if i < n - 1:
            return offset + i
        s = self.bits(5)
        negative, k = s % 2, s // 2
        excess = 2**k + self.bits(k)
        value = offset - excess if negative else offset + n - 2 + excess
        check(-32768 <= value <= 32767, "a symbol beyond 16 bits")
        return value


def decode_string(data: bytes, indexes: Array, tables: Tables) -> Array:
    """The symbols that a string stands for, in the shape of their table indexes."""
    string, symbols = String(data), []
    for t in indexes.ravel().tolist():
        coded = t >= tables.skip
        symbols.append(string.symbol(tables.frequencies[t], tables.offsets[t]) if coded else 0)
    check(string.x == 65536 and next(string.words, None) is None, "end of a string")
    return np.array(symbols, np.int64).reshape(indexes.shape)


# ---------------------------------------------------------------- Priors: the integer hyper-synthesis


def clamp(a: Array) -> Array:
    """To less than 2^24 in absolute value."""
    return np.clip(a, -(2**24 - 1), 2**24 - 1)


def rounded(a: Array, s: int) -> Array:
    """Divided by 2^s, halves rounded up."""
    return clamp((a + 2 ** (s - 1)) // 2**s) if s else clamp(a)


def leaky(a: Array) -> Array:
    """The leaky rectifier."""
    return np.where(a >= 0, a, a // 128)


@dataclass
class Convolution:
    """Weights, biases and the shift of one layer of the hyper-synthesis."""

    weight: Array
    bias: Array
    shift: int


def read_convolution(weights: Weights, name: str) -> Convolution:
    """The layer ``prior.NAME``."""
    parts = {part: weights.tensors[f"prior.{name}.{part}"] for part in ("weight", "bias", "shift")}
    return Convolution(
        parts["weight"].astype(np.int64), parts["bias"].astype(np.int64), int(parts["shift"].ravel()[0])
    )


def conv(layer: Convolution, x: Array) -> Array:
    """3 x 3 convolution with zeros around its input."""
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(layer.weight), height, width), np.int64) + layer.bias[:, None, None]
    for a in range(3):
        for b in range(3):
            part = padded[:, a : a + height, b : b + width]
            out += np.tensordot(layer.weight[:, :, a, b], part, 1)
    return out


def up(layer: Convolution, x: Array) -> Array:
    """5 x 5 transposed convolution that doubles the size."""
    _, height, width = x.shape
    out = np.zeros((layer.weight.shape[1], 2 * height + 4, 2 * width + 4), np.int64)
    for a in range(5):
        for b in range(5):
            part = np.tensordot(layer.weight[:, :, a, b].T, x, 1)
            out[:, a : a + 2 * height : 2, b : b + 2 * width : 2] += part
    return out[:, 2 : 2 + 2 * height, 2 : 2 + 2 * width] + layer.bias[:, None, None]


def size_at(layer: Layer, level: int) -> tuple[int, int]:
    """Rows and columns at a level."""
    return -(-layer.height // 2**level), -(-layer.width // 2**level)


def cropped(x: Array, size: tuple[int, int]) -> Array:
    """The first rows and columns."""
    return x[:, : size[0], : size[1]]


def priors(weights: Weights, part: str, layer: Layer, z: Array) -> tuple[Array, Array]:
    """The table index and the mean of each latent."""
    up1, up2, index, mean = (
        read_convolution(weights, f"{part}.{name}") for name in ("up1", "up2", "index", "mean")
    )
    medians = weights.tensors[f"prior.{part}.medians"].astype(np.int64)
    x0 = clamp(256 * z + medians[:, None, None])
    x1 = leaky(cropped(rounded(up(up1, x0), up1.shift), size_at(layer, 5)))
    x2 = leaky(cropped(rounded(up(up2, x1), up2.shift), size_at(layer, 4)))
    indexes = np.clip(rounded(conv(index, x2), index.shift + 8), 0, 63)
    return indexes, rounded(conv(mean, x2), mean.shift)


# ---------------------------------------------------------------- Latents


def decode_latents(stream: bytes, weights: Weights, k: int) -> Array:
    """The latents (M, h/16, w/16) of layer ``k`` before the inverse gain, int64 in units of 2^-8."""
    header = read_header(stream)
    check(header.model_id == weights.model_id, "another model")
    layer, part = header.layers[k], "enhancement" if k else "base"
    hyper_latents, *tiles = read_substreams(stream, header, layer)
    n = weights.config["channels"]
    channels = np.broadcast_to(np.arange(n)[:, None, None], (n, *size_at(layer, 6)))
    z = decode_string(hyper_latents, channels, read_tables(weights, part))
    indexes, means = priors(weights, part, layer, z)
    tables, symbols, edge = read_tables(weights, "latent"), np.zeros_like(means), header.tile // 16
    rows, columns = size_at(layer, 4)
    places = [(row, column) for row in range(0, rows, edge) for column in range(0, columns, edge)]
    for (row, column), data in zip(places, tiles, strict=True):
        place = np.s_[:, row : row + edge, column : column + edge]
        symbols[place] = decode_string(data, indexes[place], tables)
    return 256 * symbols + means

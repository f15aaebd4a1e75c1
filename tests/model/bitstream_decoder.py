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
    kind: int
    model_id: bytes
    layers: list[Layer]


def read_header(stream: bytes) -> Header:
    """Read and check the header."""
    check(stream[:4] == b"CMPS", "magic number")
    check(stream[4] == 3, "version")
    count = stream[5]
    check(1 <= count <= 16, "number of layers")
    length = 16 + 13 * count + 4
    check(len(stream) >= length, "length of the header")
    check(crc32(stream[: length - 4]) == number(stream[length - 4 : length]), "CRC of the header")
    kind = stream[7]
    check(kind <= 2, "kind")
    if kind:
        check(count == 1 and stream[6] == 0 and stream[8:16] == bytes(8), "a graphic's header")
    else:
        check(stream[6] >= 1, "tile edge")
    layers: list[Layer] = []
    offset = length
    for at in range(16, 16 + 13 * count, 13):
        entry = stream[at : at + 13]
        layer = Layer(
            number(entry[0:2]), number(entry[2:4]), entry[4], number(entry[5:9]), number(entry[9:13]), offset
        )
        check(layer.width >= 1 and layer.height >= 1 and 1 <= layer.quality <= 100, "a layer's entry")
        check(not kind or layer.length >= 1, "a graphic's entry")
        layers.append(layer)
        offset += layer.length
    return Header(64 * stream[6], kind, stream[8:16], layers)


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


# ---------------------------------------------------------------- Graphics


def read_graphic(stream: bytes) -> tuple[str, bytes]:
    """The format and the file of a graphic, which is a plain one of the layer's size."""
    header = read_header(stream)
    check(header.kind in (1, 2), "a graphic")
    (layer,) = header.layers
    file = stream[layer.offset : layer.offset + layer.length]
    check(len(file) == layer.length, "length of the layer")
    check(crc32(file) == layer.crc, "CRC of the file")
    check(
        max(layer.width, layer.height) <= 16383 and layer.width * layer.height <= 2**26, "size of a graphic"
    )
    try:
        size = size_of_webp(file) if header.kind == 1 else size_of_avif(file)
    except IndexError:
        raise Refused("a file that is cut off") from None
    check(size == (layer.width, layer.height), "another size in the file")
    return ("WEBP" if header.kind == 1 else "AVIF"), file


def size_of_webp(file: bytes) -> tuple[int, int]:
    """Width and height of a file that is one VP8L chunk."""
    check(file[:4] == b"RIFF" and file[8:16] == b"WEBPVP8L", "a lossless WebP file")
    length = number(file[16:20])
    check(number(file[4:8]) == len(file) - 8 == 12 + length + length % 2, "lengths of a WebP file")
    bits = number(file[21:25])
    check(file[20] == 0x2F and bits >> 28 == 0, "signature, alpha or version")
    return bits % 2**14 + 1, (bits >> 14) % 2**14 + 1


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """The boxes that ``data`` consists of: name and content."""
    found, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        check(8 <= length <= len(data) - at, "length of a box")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + length]))
        at += length
    return found


def names(found: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Their names."""
    return [name for name, _ in found]


def size_of_avif(file: bytes) -> tuple[int, int]:
    """Width and height of a file of one still picture."""
    outer = boxes(file)
    check(names(outer) == [b"ftyp", b"meta", b"mdat"], "boxes of the file")
    (_, brands), (_, meta), (_, mdat) = outer
    check(brands[:4] == b"avif" and b"avis" not in brands, "brands")
    inner = boxes(meta[4:])
    check(sorted(names(inner)) == [b"hdlr", b"iinf", b"iloc", b"iprp", b"pitm"], "boxes of meta")
    parts = dict(inner)
    item = parts[b"pitm"][4:]
    check(parts[b"pitm"][:4] == bytes(4) and len(item) == 2, "pitm")
    extent = (len(file) - len(mdat)).to_bytes(4, "big") + len(mdat).to_bytes(4, "big")
    check(parts[b"iloc"] == bytes(4) + b"\x44\0\0\1" + item + b"\0\0\0\1" + extent, "iloc")
    check(parts[b"iinf"][:6] == bytes(5) + b"\1", "number of items")
    entries = boxes(parts[b"iinf"][6:])
    check(names(entries) == [b"infe"], "iinf")
    check(entries[0][1][:12] == b"\2\0\0\0" + item + b"\0\0av01", "infe")
    iprp = boxes(parts[b"iprp"])
    check(names(iprp) == [b"ipco", b"ipma"], "iprp")
    properties = boxes(iprp[0][1])
    check(sorted(names(properties)) == [b"av1C", b"colr", b"ispe", b"pixi"], "ipco")
    content = dict(properties)
    check(content[b"colr"][:4] == b"nclx" and content[b"pixi"] == bytes(4) + b"\3\x08\x08\x08", "samples")
    ispe = content[b"ispe"]
    check(len(ispe) == 12, "ispe")
    size = int.from_bytes(ispe[4:8], "big"), int.from_bytes(ispe[8:12], "big")
    check(size_of_sequence(mdat) == size, "size of the sequence")
    return size


def size_of_sequence(data: bytes) -> tuple[int, int]:
    """Width and height in the sequence header of an AV1 stream of one frame."""
    kinds, contents, at = [], [], 0
    while at < len(data):
        check(data[at] & 0x87 == 2, "form of an OBU")
        kinds.append(data[at] >> 3)
        length = shift = 0
        while True:
            at += 1
            check(shift < 28, "length of an OBU")
            length |= (data[at] & 127) << shift
            shift += 7
            if data[at] < 128:
                break
        at += 1
        contents.append(data[at : at + length])
        check(len(contents[-1]) == length, "length of an OBU")
        at += length
    check(kinds == [2, 1, 6], "OBUs")
    sequence = contents[1].ljust(8, b"\0")
    value = int.from_bytes(sequence[:8], "big")

    def bits(first: int, count: int) -> int:
        return value >> (64 - first - count) & (2**count - 1)

    check(bits(3, 2) == 3, "a reduced still picture header")
    a, b = bits(10, 4) + 1, bits(14, 4) + 1
    return bits(18, a) + 1, bits(18 + a, b) + 1


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
    check(header.kind == 0, "a graphic has no latents")
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

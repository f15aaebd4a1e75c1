"""The byte layout of a COMPASS stream: header, layers, tiles. No torch, no numpy.

    header   "CMPS", version, layer count, tile edge, kind, model id,
             one entry per layer (size, quality, length, CRC), CRC of all of it
    layer    index of its substreams (CRC and length of each), then their bytes: the
             hyper-latents of the whole layer, then the latents tile by tile
    graphic  instead of layers of the network: one layer that is a picture file

Checksums form a chain: the header's CRC covers the layer entries, an entry's CRC covers that
layer's index, and the index holds the CRC of each substream. So a prefix of the stream, or a
single tile of it, can be verified without reading the rest. A graphic has no index: the entry's CRC covers
its file. ``docs/bitstream.md`` is the full description.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, cast
from zlib import crc32

from model.errors import (
    ChecksumMismatch,
    EncodeError,
    InvalidStream,
    NotAStream,
    TruncatedStream,
    UnsupportedVersion,
)
from model.geometry import Size

MAGIC = b"CMPS"
VERSION = 3
MAX_LAYERS = 16
MAX_EDGE = 65535
"""Largest width or height in pixels."""
TILE_UNIT = 64
"""A tile's edge is a multiple of this many pixels: one hyper-latent covers 64 x 64 pixels."""
MAX_SUBSTREAM_BYTES = 2**24 - 1
MAX_LAYER_BYTES = 2**32 - 1
MODEL_ID_BYTES = 8

_FIXED = struct.Struct("<4sBBBB8s")  # magic, version, layers, tile units, kind, model id
_ENTRY = struct.Struct("<HHBII")  # width, height, quality, length, crc of the index, or of a graphic's file
_CRC = struct.Struct("<I")
_INDEX_ENTRY_BYTES = 7  # crc32, 24-bit length

FIXED_HEADER_BYTES = _FIXED.size
"""This many first bytes suffice for :func:`header_length`."""
MAX_HEADER_BYTES = _FIXED.size + MAX_LAYERS * _ENTRY.size + _CRC.size


NO_MODEL = bytes(MODEL_ID_BYTES)
"""The model id of graphics, which no weights are needed for."""


KindWord = Literal["photograph", "lossless", "avif"]
"""What users call the kinds of streams."""


class Kind(IntEnum):
    """What the layers of a stream are: the network's, which suit photographs, or one picture file."""

    PHOTOGRAPH = 0
    LOSSLESS = 1
    """A WebP file without loss."""
    AVIF = 2

    @property
    def word(self) -> KindWord:
        """As users read it."""
        return cast(KindWord, self.name.lower())


@dataclass(frozen=True)
class Layer:
    """One layer of a stream.

    ``width`` and ``height`` in pixels, ``quality`` 1-100; ``offset`` and ``length`` in bytes
    from the stream's first byte (the offset is not stored: layers follow one another);
    ``crc`` is the CRC-32 of the layer's index, or of the file that it is.
    """

    width: int
    height: int
    quality: int
    offset: int
    length: int
    crc: int

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return Size(self.height, self.width)

    @property
    def end(self) -> int:
        """Length of the shortest prefix of the stream that holds this layer and all below."""
        return self.offset + self.length


@dataclass(frozen=True)
class Header:
    """A parsed and checked stream header; ``tile`` is the tile edge in pixels, 0 of a graphic."""

    model_id: bytes
    tile: int
    layers: tuple[Layer, ...]
    kind: Kind = Kind.PHOTOGRAPH

    @property
    def length(self) -> int:
        """Bytes of the header itself."""
        return self.layers[0].offset

    @property
    def is_graphic(self) -> bool:
        """Whether its one layer is a picture file."""
        return self.kind is not Kind.PHOTOGRAPH

    @property
    def total(self) -> int:
        """Bytes of the whole stream."""
        return self.layers[-1].end

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The size of each layer in pixels, smallest first."""
        return tuple(layer.size for layer in self.layers)

    def grid(self, layer: int) -> Size:
        """Rows and columns of tiles in a layer."""
        height, width = self.layers[layer].size
        return Size(-(-height // self.tile), -(-width // self.tile))

    def index_length(self, layer: int) -> int:
        """Bytes of the index at the start of a layer."""
        return (1 + self.grid(layer).area) * _INDEX_ENTRY_BYTES


@dataclass(frozen=True)
class Substream:
    """Where an entropy-coded string lies in the stream, and the CRC-32 of its bytes."""

    offset: int
    length: int
    crc: int

    def cut(self, stream: bytes, name: str = "substream") -> bytes:
        """Its bytes out of ``stream``; raises TruncatedStream or ChecksumMismatch."""
        data = stream[self.offset : self.offset + self.length]
        if len(data) != self.length:
            raise TruncatedStream(f"{name}: {len(data)} of {self.length} bytes")
        if crc32(data) != self.crc:
            raise ChecksumMismatch(f"{name}: the CRC does not match")
        return data


@dataclass(frozen=True)
class Index:
    """The substreams of a layer: its hyper-latents, and its latents tile by tile, row by row."""

    hyper_latents: Substream
    tiles: tuple[Substream, ...]


def header_length(start: bytes) -> int:
    """Bytes of the header, told from the stream's first 16 bytes.

    Raises NotAStream, UnsupportedVersion, InvalidStream, or TruncatedStream.
    """
    if start[: len(MAGIC)] != MAGIC[: len(start)] or not start:
        raise NotAStream("not a COMPASS stream: wrong magic number")
    if len(start) < FIXED_HEADER_BYTES:
        raise TruncatedStream(f"{len(start)} bytes are too few for a stream header")
    _, version, layers, _, _, _ = _FIXED.unpack_from(start)
    if version != VERSION:
        raise UnsupportedVersion(f"stream format version {version}; this program reads {VERSION}")
    if not 1 <= layers <= MAX_LAYERS:
        raise InvalidStream(f"{layers} layers; a stream has 1 to {MAX_LAYERS}")
    return _FIXED.size + layers * _ENTRY.size + _CRC.size


def read_header(data: bytes) -> Header:
    """Parse and check the header at the start of ``data`` (which may be any longer prefix).

    Raises a :class:`model.errors.StreamError`.
    """
    length = header_length(data[:FIXED_HEADER_BYTES])
    if len(data) < length:
        raise TruncatedStream(f"the header has {length} bytes, only {len(data)} are here")
    (stored,) = _CRC.unpack_from(data, length - _CRC.size)
    if crc32(data[: length - _CRC.size]) != stored:
        raise ChecksumMismatch("the header's CRC does not match")
    _, _, count, tile_units, kind, model_id = _FIXED.unpack_from(data)
    if kind not in Kind.__members__.values():
        raise InvalidStream(f"unknown kind {kind}")
    if kind == Kind.PHOTOGRAPH and not tile_units:
        raise InvalidStream("a tile edge of 0 pixels")
    if kind != Kind.PHOTOGRAPH and (count, tile_units, model_id) != (1, 0, NO_MODEL):
        raise InvalidStream("a graphic has one layer, no tiles and no model")
    layers: list[Layer] = []
    offset = length
    for k in range(count):
        width, height, quality, size, crc = _ENTRY.unpack_from(data, _FIXED.size + k * _ENTRY.size)
        layers.append(Layer(width, height, quality, offset, size, crc))
        offset += size
    header = Header(model_id, tile_units * TILE_UNIT, tuple(layers), Kind(kind))
    _check_layers(header)
    return header


def _check_layers(header: Header) -> None:
    for k, layer in enumerate(header.layers):
        if not (layer.width and layer.height and 1 <= layer.quality <= 100):
            raise InvalidStream(f"layer {k}: size {layer.size}, quality {layer.quality}")
        if header.is_graphic:
            if not layer.length:
                raise InvalidStream("a graphic of 0 bytes")
        elif layer.length < header.index_length(k):
            raise InvalidStream(f"layer {k}: {layer.length} bytes cannot hold its index")
        if k:
            below = header.layers[k - 1]
            if layer.width < below.width or layer.height < below.height:
                raise InvalidStream(f"layer {k} is smaller than layer {k - 1}")
            if layer.size == below.size:
                raise InvalidStream(f"layer {k} has the size of layer {k - 1}")


def read_index(header: Header, layer: int, stream: bytes) -> Index:
    """Where a layer's substreams lie, from the index at the layer's start.

    ``stream`` is the stream or any prefix that holds the index. Raises TruncatedStream,
    ChecksumMismatch or InvalidStream.
    """
    if header.is_graphic:
        raise InvalidStream("a graphic has no index")
    entry = header.layers[layer]
    length = header.index_length(layer)
    index = stream[entry.offset : entry.offset + length]
    if len(index) < length:
        raise TruncatedStream(f"layer {layer}: the index is cut off")
    if crc32(index) != entry.crc:
        raise ChecksumMismatch(f"layer {layer}: the index's CRC does not match")
    offset = entry.offset + length
    substreams = []
    for at in range(0, length, _INDEX_ENTRY_BYTES):
        (crc,) = _CRC.unpack_from(index, at)
        size = int.from_bytes(index[at + 4 : at + 7], "little")
        substreams.append(Substream(offset, size, crc))
        offset += size
    if offset != entry.end:
        raise InvalidStream(f"layer {layer}: its substreams end at {offset}, the layer at {entry.end}")
    return Index(substreams[0], tuple(substreams[1:]))


def read_layer(header: Header, layer: int, stream: bytes) -> tuple[bytes, list[bytes]]:
    """The verified bytes of a layer's hyper-latents and of each of its tiles, row by row.

    ``stream`` is the stream or any prefix that holds the layer. Raises a
    :class:`model.errors.StreamError`.
    """
    entry = header.layers[layer]
    if len(stream) < entry.end:
        raise TruncatedStream(f"layer {layer} ends at byte {entry.end}, only {len(stream)} are here")
    index = read_index(header, layer, stream)
    hyper_latents = index.hyper_latents.cut(stream, f"layer {layer}, hyper-latents")
    return hyper_latents, [tile.cut(stream, f"layer {layer}, tile {n}") for n, tile in enumerate(index.tiles)]


def read_graphic(header: Header, stream: bytes) -> bytes:
    """The verified bytes of a graphic's file, which are still a stranger's.

    Raises a :class:`model.errors.StreamError`.
    """
    if not header.is_graphic:
        raise InvalidStream("the stream is no graphic")
    (entry,) = header.layers
    return Substream(entry.offset, entry.length, entry.crc).cut(stream, f"the {header.kind.word} graphic")


def verify_layer(header: Header, layer: int, stream: bytes) -> None:
    """Check every checksum of a layer; ``stream`` is the stream or any prefix that holds it.

    Raises a :class:`model.errors.StreamError`.
    """
    if header.is_graphic:
        read_graphic(header, stream)
    else:
        read_layer(header, layer, stream)


def layers_held(header: Header, size: int) -> int:
    """How many whole layers the first ``size`` bytes of the stream hold."""
    return sum(layer.end <= size for layer in header.layers)


def verify(data: bytes) -> Header:
    """Check every checksum of a whole stream without decoding it; returns its header.

    Raises a :class:`model.errors.StreamError`; InvalidStream if bytes follow the last layer.
    """
    header = read_header(data)
    for k in range(len(header.layers)):
        verify_layer(header, k, data)
    if len(data) != header.total:
        raise InvalidStream(f"{len(data) - header.total} bytes follow the last layer")
    return header


@dataclass(frozen=True)
class CodedLayer:
    """A layer to be written: size in pixels, quality 1-100, the bytes of its hyper-latents and of
    its tiles, row by row."""

    width: int
    height: int
    quality: int
    hyper_latents: bytes
    tiles: Sequence[bytes]

    @property
    def substreams(self) -> tuple[bytes, ...]:
        """Everything after the index, in order."""
        return self.hyper_latents, *self.tiles

    @property
    def length(self) -> int:
        """Bytes of the substreams."""
        return sum(map(len, self.substreams))


def write(model_id: bytes, tile: int, layers: Sequence[CodedLayer]) -> bytes:
    """Assemble a stream; ``tile`` is the tile edge in pixels, a multiple of 64.

    Raises EncodeError if a value does not fit its field or the layers do not make a stream.
    """
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise EncodeError(f"{len(layers)} layers; a stream has 1 to {MAX_LAYERS}")
    if tile % TILE_UNIT or not 1 <= tile // TILE_UNIT <= 255:
        raise EncodeError(f"a tile edge of {tile} pixels")
    if len(model_id) != MODEL_ID_BYTES:
        raise EncodeError("a model id has 8 bytes")
    bodies = [b"".join(_layer_parts(layer)) for layer in layers]
    fixed = _FIXED.pack(MAGIC, VERSION, len(layers), tile // TILE_UNIT, Kind.PHOTOGRAPH, model_id)
    entries = b""
    for layer, body in zip(layers, bodies, strict=True):
        if len(layer.tiles) != -(-layer.width // tile) * -(-layer.height // tile):
            raise EncodeError(f"{len(layer.tiles)} tiles do not cover {layer.width}x{layer.height} pixels")
        index = body[: len(layer.substreams) * _INDEX_ENTRY_BYTES]
        entries += _entry(Size(layer.height, layer.width), layer.quality, body, index)
    return _assemble(fixed + entries, bodies)


def write_graphic(kind: Kind, size: Size, quality: int, file: bytes) -> bytes:
    """Assemble the stream of a graphic: ``file`` is a picture of ``size`` pixels, ``quality`` 1-100.

    Raises EncodeError if a value does not fit its field.
    """
    if kind is Kind.PHOTOGRAPH:
        raise EncodeError("a graphic is no photograph")
    fixed = _FIXED.pack(MAGIC, VERSION, 1, 0, kind, NO_MODEL)
    return _assemble(fixed + _entry(size, quality, file, file), [file])


def _entry(size: Size, quality: int, body: bytes, protected: bytes) -> bytes:
    """The entry of a layer, with the CRC of what it protects itself."""
    if not 1 <= min(size) <= max(size) <= MAX_EDGE:
        raise EncodeError(f"a layer of {size} pixels; the limit is {MAX_EDGE}")
    if not 1 <= quality <= 100 or len(body) > MAX_LAYER_BYTES:
        raise EncodeError(f"a layer of quality {quality} and {len(body)} bytes")
    return _ENTRY.pack(size.width, size.height, quality, len(body), crc32(protected))


def _assemble(head: bytes, bodies: Sequence[bytes]) -> bytes:
    """Header without its CRC, and layers, as a stream that reads back."""
    stream = b"".join([head, _CRC.pack(crc32(head)), *bodies])
    try:
        read_header(stream)
    except InvalidStream as error:
        raise EncodeError(str(error)) from error
    return stream


def _layer_parts(layer: CodedLayer) -> Iterator[bytes]:
    for data in layer.substreams:
        if len(data) > MAX_SUBSTREAM_BYTES:
            raise EncodeError(f"a substream of {len(data)} bytes; the limit is {MAX_SUBSTREAM_BYTES}")
        yield _CRC.pack(crc32(data)) + len(data).to_bytes(3, "little")
    yield from layer.substreams

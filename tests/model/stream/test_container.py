"""The byte layout: what is written is read, and every lie is found."""

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import (
    ChecksumMismatch,
    EncodeError,
    InvalidStream,
    NotAStream,
    StreamError,
    TruncatedStream,
    UnsupportedVersion,
)
from model.geometry import Size
from model.stream.container import (
    FIXED_HEADER_BYTES,
    MAX_EDGE,
    MAX_HEADER_BYTES,
    MAX_LAYERS,
    MAX_SUBSTREAM_BYTES,
    NO_MODEL,
    CodedLayer,
    Kind,
    Substream,
    header_length,
    layers_held,
    read_graphic,
    read_header,
    read_index,
    read_layer,
    verify,
    verify_layer,
    write,
    write_graphic,
)

MODEL = b"modelid8"
LAYERS = (
    CodedLayer(100, 60, 30, b"h", [b"base"]),
    CodedLayer(300, 180, 31, b"h", [b"left", b""]),
    CodedLayer(600, 360, 32, b"h", [b"a", b"bb", b"ccc", b"", b"eeeee", b"f"]),
)
STREAM = write(MODEL, 256, LAYERS)
HEADER_BYTES = 16 + 3 * 13 + 4


def patched(offset: int, data: bytes, stream: bytes = STREAM) -> bytes:
    """The stream with other bytes at ``offset`` of its header, whose CRC fits again."""
    changed = bytearray(stream)
    changed[offset : offset + len(data)] = data
    end = header_length(stream) - 4
    changed[end : end + 4] = struct.pack("<I", crc32(changed[:end]))
    return bytes(changed)


def test_what_is_written_is_read():
    header = verify(STREAM)
    assert header.model_id == MODEL
    assert header.tile == 256
    assert header.total == len(STREAM)
    assert [(e.width, e.height, e.quality) for e in header.layers] == [
        (100, 60, 30), (300, 180, 31), (600, 360, 32),
    ]  # fmt: skip
    assert [header.grid(k) for k in range(3)] == [(1, 1), (1, 2), (2, 3)]
    assert [read_layer(header, k, STREAM) for k in range(3)] == [(b"h", e.tiles) for e in LAYERS]


def test_layout_byte_by_byte():
    stream = write(MODEL, 64, [CodedLayer(3, 2, 7, b"h", [b"xyz"])])
    index = struct.pack("<I", crc32(b"h")) + b"\1\0\0" + struct.pack("<I", crc32(b"xyz")) + b"\3\0\0"
    head = b"CMPS" + bytes([3, 1, 1, 0]) + MODEL + struct.pack("<HHBII", 3, 2, 7, 18, crc32(index))
    assert stream == head + struct.pack("<I", crc32(head)) + index + b"hxyz"


def test_header_length_needs_only_the_first_bytes():
    assert header_length(STREAM[:FIXED_HEADER_BYTES]) == HEADER_BYTES == read_header(STREAM).length
    assert HEADER_BYTES <= MAX_HEADER_BYTES
    most = write(MODEL, 64, [CodedLayer(w, 1, 50, b"h", [b""]) for w in range(1, MAX_LAYERS + 1)])
    assert header_length(most) == MAX_HEADER_BYTES


def test_every_prefix_holds_the_layers_that_end_in_it():
    header = read_header(STREAM)
    for size in range(HEADER_BYTES, len(STREAM) + 1):
        prefix = STREAM[:size]
        assert read_header(prefix) == header
        held = layers_held(header, size)
        assert held == sum(entry.end <= size for entry in header.layers)
        for k in range(3):
            if k < held:
                assert read_layer(header, k, prefix) == (b"h", LAYERS[k].tiles)
            else:
                with pytest.raises(TruncatedStream):
                    read_layer(header, k, prefix)


@pytest.mark.parametrize("size", range(1, HEADER_BYTES))
def test_a_cut_header_is_truncated(size):
    with pytest.raises(TruncatedStream):
        read_header(STREAM[:size])


def test_a_single_tile_is_checked_alone():
    header = read_header(STREAM)
    entry = header.layers[2]
    start = entry.offset + header.index_length(2)
    tile = read_index(header, 2, STREAM[:start]).tiles[4]
    assert tile.cut(STREAM[:start] + bytes(tile.offset - start) + b"eeeee") == b"eeeee"
    with pytest.raises(ChecksumMismatch):
        tile.cut(bytes(tile.offset) + b"eeeeE")
    with pytest.raises(TruncatedStream):
        tile.cut(bytes(tile.offset) + b"eeee")
    with pytest.raises(TruncatedStream):
        read_index(header, 2, STREAM[: start - 1])


@pytest.mark.parametrize("data", [b"", b"P", b"PNG", b"cmps" + STREAM[4:], b"\x89PNG" + bytes(100)])
def test_other_data_is_not_a_stream(data):
    with pytest.raises(NotAStream):
        read_header(data)


@pytest.mark.parametrize("version", [0, 1, 2, 4, 255])
def test_unknown_versions(version):
    with pytest.raises(UnsupportedVersion):
        read_header(patched(4, bytes([version])))


def refused_at(stream, position):
    """Whether a stream is refused with one bit of this byte turned over."""
    changed = bytearray(stream)
    changed[position] ^= 1
    with pytest.raises(StreamError):
        verify(bytes(changed))
    return True


@pytest.mark.parametrize("position", range(5, len(STREAM)))
def test_every_byte_is_protected(position):
    assert refused_at(STREAM, position)


@pytest.mark.parametrize(
    ("offset", "data"),
    [
        (5, b"\0"),  # no layers
        (5, bytes([MAX_LAYERS + 1])),
        (6, b"\0"),  # tile edge 0
        (7, b"\1"),  # a graphic of three layers
        (7, b"\3"),  # an unknown kind
        (16, b"\0\0"),  # width 0
        (18, b"\0\0"),  # height 0
        (20, b"\0"),  # quality 0
        (20, b"e"),  # quality 101
        (16, struct.pack("<H", 301)),  # wider than the layer above
        (18, struct.pack("<H", 181)),
        (16, struct.pack("<HH", 300, 180)),  # the size of the layer above
        (21, struct.pack("<I", 13)),  # too short for its index
        (16 + 26, struct.pack("<HH", MAX_EDGE, MAX_EDGE)),  # too short for a larger picture's index
        (6, b"\1"),  # smaller tiles than the index has entries
    ],
)
def test_fields_that_contradict_each_other(offset, data):
    with pytest.raises(InvalidStream):
        read_header(patched(offset, data))


@pytest.mark.parametrize("more", [-1, 1, 2**31])
def test_layer_lengths_that_lie(more):
    (length,) = struct.unpack_from("<I", STREAM, 21)
    with pytest.raises(StreamError):
        verify(patched(21, struct.pack("<I", length + more)))


def test_tile_lengths_that_lie():
    """The chain of CRCs is whole, but the tiles do not fill the layer."""
    for length in (2, 4, MAX_SUBSTREAM_BYTES):
        stream = write(MODEL, 64, [CodedLayer(3, 2, 7, b"h", [b"xyz"])])
        start = header_length(stream)
        index = stream[start : start + 11] + length.to_bytes(3, "little")
        stream = patched(25, struct.pack("<I", crc32(index)), stream[:start] + index + b"hxyz")
        with pytest.raises(InvalidStream):
            read_layer(read_header(stream), 0, stream)


def test_bytes_after_the_last_layer():
    with pytest.raises(InvalidStream):
        verify(STREAM + b"\0")
    assert read_header(STREAM + b"\0") == read_header(STREAM)


def test_largest_values():
    layers = [CodedLayer(MAX_EDGE, MAX_EDGE, 100, b"h", [b""] * 25)]
    header = verify(write(MODEL, 255 * 64, layers))
    assert (header.layers[0].width, header.layers[0].height) == (MAX_EDGE, MAX_EDGE)
    assert header.grid(0) == (5, 5)
    tile = bytes(MAX_SUBSTREAM_BYTES)
    stream = write(MODEL, 64, [CodedLayer(1, 1, 1, b"h", [tile])])
    assert read_layer(verify(stream), 0, stream) == (b"h", [tile])


@pytest.mark.parametrize(
    ("model_id", "tile", "layers"),
    [
        (MODEL, 256, []),
        (MODEL, 64, [CodedLayer(w, 1, 50, b"h", [b""]) for w in range(1, MAX_LAYERS + 2)]),
        (MODEL, 0, LAYERS),
        (MODEL, 100, LAYERS),
        (MODEL, 256 * 64, LAYERS),
        (b"short", 256, LAYERS),
        (MODEL, 64, [CodedLayer(0, 1, 50, b"h", [b""])]),
        (MODEL, 64, [CodedLayer(1, MAX_EDGE + 1, 50, b"h", [b""])]),
        (MODEL, 64, [CodedLayer(1, 1, 50, b"h", [bytes(MAX_SUBSTREAM_BYTES + 1)])]),
        (MODEL, 64, [CodedLayer(1, 1, 50, bytes(MAX_SUBSTREAM_BYTES + 1), [b""])]),
    ],
)
def test_what_cannot_be_written(model_id, tile, layers):
    with pytest.raises(EncodeError):
        write(model_id, tile, layers)


@pytest.mark.parametrize(
    "layers",
    [
        [CodedLayer(1, 1, 0, b"h", [b""])],
        [CodedLayer(1, 1, 101, b"h", [b""])],
        [CodedLayer(1, 1, 256, b"h", [b""])],
        [CodedLayer(1, 1, 50, b"h", [])],
        [CodedLayer(1, 1, 50, b"h", [b"", b"x"])],
        [CodedLayer(2, 2, 50, b"h", [b""]), CodedLayer(2, 2, 50, b"h", [b""])],
        [CodedLayer(2, 2, 50, b"h", [b""]), CodedLayer(3, 1, 50, b"h", [b""])],
    ],
)
def test_layers_that_make_no_stream_are_not_written(layers):
    with pytest.raises(EncodeError):
        write(MODEL, 64, layers)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(data):
    for candidate in (data, STREAM[:16] + data, patched(16, data[: 3 * 13])):
        try:
            header = read_header(candidate)
        except StreamError:
            continue
        assert header.length <= len(candidate)


def test_the_index_tells_places():
    index = read_index(read_header(STREAM), 0, STREAM)
    assert index.hyper_latents == Substream(HEADER_BYTES + 14, 1, crc32(b"h"))
    assert index.tiles == (Substream(HEADER_BYTES + 15, 4, crc32(b"base")),)


GRAPHIC = write_graphic(Kind.LOSSLESS, Size(40, 60), 100, b"the file")


def test_a_graphic_byte_by_byte():
    """Its layer is a file, which its entry's CRC covers."""
    head = (
        b"CMPS" + bytes([3, 1, 0, 1]) + bytes(8) + struct.pack("<HHBII", 60, 40, 100, 8, crc32(b"the file"))
    )
    assert head + struct.pack("<I", crc32(head)) + b"the file" == GRAPHIC
    header = verify(GRAPHIC)
    assert (header.kind, header.model_id, header.is_graphic, header.sizes) == (
        Kind.LOSSLESS, NO_MODEL, True, (Size(40, 60),),
    )  # fmt: skip
    assert read_graphic(header, GRAPHIC) == b"the file"
    assert [kind.word for kind in Kind] == ["photograph", "lossless", "avif"]
    assert not read_header(STREAM).is_graphic


@pytest.mark.parametrize("position", range(5, len(GRAPHIC)))
def test_every_byte_of_a_graphic_is_protected(position):
    assert refused_at(GRAPHIC, position)


@pytest.mark.parametrize(
    ("offset", "data"),
    [
        (6, b"\1"),  # tiles
        (7, b"\0"),  # no tiles, but layers of the network
        (7, b"\3"),
        (8, b"\1"),  # a model
        (16, b"\0\0"),
        (20, b"\0"),
        (21, bytes(4)),  # no bytes
    ],
)
def test_fields_of_a_graphic_that_contradict_each_other(offset, data):
    with pytest.raises(InvalidStream):
        read_header(patched(offset, data, GRAPHIC))


def test_a_graphic_has_no_index_and_a_photograph_no_file():
    with pytest.raises(InvalidStream):
        read_index(read_header(GRAPHIC), 0, GRAPHIC)
    with pytest.raises(InvalidStream):
        read_graphic(read_header(STREAM), STREAM)
    with pytest.raises(TruncatedStream):
        verify_layer(read_header(GRAPHIC), 0, GRAPHIC[:-1])


@pytest.mark.parametrize(
    ("kind", "size", "quality", "file"),
    [
        (Kind.PHOTOGRAPH, Size(1, 1), 50, b"x"),
        (Kind.AVIF, Size(0, 1), 50, b"x"),
        (Kind.AVIF, Size(1, MAX_EDGE + 1), 50, b"x"),
        (Kind.AVIF, Size(1, 1), 0, b"x"),
        (Kind.AVIF, Size(1, 1), 101, b"x"),
        (Kind.AVIF, Size(1, 1), 50, b""),
    ],
)
def test_graphics_that_cannot_be_written(kind, size, quality, file):
    with pytest.raises(EncodeError):
        write_graphic(kind, size, quality, file)

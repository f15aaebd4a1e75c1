"""Which picture files a graphic may be: plain ones, of the size that the stream's header tells. No pixels.

A file is looked at before any library opens it: a still picture with nothing beside it (no metadata, alpha,
animation, colour profile), whose own size, wherever it stands in it, is the layer's. So no few bytes become
more pixels than the header says, and the file can be handed out as it is.
"""

import struct
from collections.abc import Iterator

from model.errors import InvalidStream
from model.geometry import Size
from model.stream.container import Kind

MAX_EDGE = 16383
"""The longest side of a graphic in pixels: WebP has no longer ones."""
MAX_PIXELS = 2**26
"""Graphics of more pixels are neither written nor decoded."""

_ITEM = b"av01"
_SEQUENCE_HEADER, _DELIMITER, _FRAME = 1, 2, 6


def check(kind: Kind, file: bytes, size: Size) -> None:
    """Raise InvalidStream unless ``file`` is a plain picture of that kind and ``size`` in pixels."""
    if max(size) > MAX_EDGE or size.area > MAX_PIXELS:
        raise InvalidStream(
            f"a graphic of {size} pixels; the limits are {MAX_EDGE} a side, {MAX_PIXELS} in all"
        )
    try:
        found = _size_of_webp(file) if kind is Kind.LOSSLESS else _size_of_avif(file)
    except (struct.error, IndexError) as error:
        raise InvalidStream(f"the file of the {kind.word} graphic ends too early") from error
    if found != size:
        raise InvalidStream(f"the file of the {kind.word} graphic has {found} pixels, not {size}")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise InvalidStream(f"the file of the graphic: {what}")


def _size_of_webp(file: bytes) -> Size:
    """Of a WebP file that is one lossless bitstream without alpha and nothing else."""
    riff, length, webp, chunk, inner = struct.unpack_from("<4sI4s4sI", file)
    _require((riff, webp, chunk) == (b"RIFF", b"WEBP", b"VP8L"), "no plain lossless WebP")
    padded = inner + inner % 2
    _require(length == len(file) - 8 and padded == length - 12, "lengths that do not fit")
    signature, bits = struct.unpack_from("<BI", file, 20)
    _require(signature == 0x2F and not bits >> 28, "another signature or version, or alpha")
    return Size(height=1 + (bits >> 14 & 0x3FFF), width=1 + (bits & 0x3FFF))


def _size_of_avif(file: bytes) -> Size:
    """Of an AVIF file of one still picture of 8 bits a sample and nothing else."""
    boxes = list(_boxes(file, 0, len(file)))
    names = [name for name, _, _ in boxes]
    _require(names == [b"ftyp", b"meta", b"mdat"], "other boxes than ftyp, meta, mdat")
    (_, brand, end), (_, meta, after), (_, data, last) = boxes
    _require(
        file[brand : brand + 4] == b"avif" and b"avis" not in file[brand:end], "not the brand of a still AVIF"
    )
    parts = {name: (start, stop) for name, start, stop in _boxes(file, meta + 4, after)}
    required = {b"hdlr", b"pitm", b"iloc", b"iinf", b"iprp"}
    _require(parts.keys() == required, "other boxes of meta than a plain picture has")
    _require(len(list(_boxes(file, meta + 4, after))) == len(required), "a box of meta twice")
    _check_item(file, parts, data, last)
    size = _size_of_properties(file, *parts[b"iprp"])
    _check_sequence(file[data:last], size)
    return size


def _boxes(file: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each box between two places, which they fill."""
    while start < end:
        length, name = struct.unpack_from(">I4s", file, start)
        _require(8 <= length <= end - start, "a box whose length does not fit")
        yield name, start + 8, start + length
        start += length


def _check_item(file: bytes, parts: dict[bytes, tuple[int, int]], data: int, last: int) -> None:
    """There is one item, a picture in AV1, and its bytes are all of mdat."""
    item = file[slice(*parts[b"pitm"])]
    _require(item[:4] == bytes(4) and len(item) == 6, "another form of pitm")
    place = (
        struct.pack(">BBBBHH", 0, 0, 0, 0, 0x4400, 1)
        + item[4:6]
        + struct.pack(">HHII", 0, 1, data, last - data)
    )
    _require(file[slice(*parts[b"iloc"])] == place, "another item than all of mdat")
    start, end = parts[b"iinf"]
    _require(file[start : start + 6] == bytes(5) + b"\1", "another number of items than one")
    items = list(_boxes(file, start + 6, end))
    _require([name for name, _, _ in items] == [b"infe"], "another form of iinf")
    entry = file[items[0][1] : items[0][1] + 12]
    _require(entry == b"\2\0\0\0" + item[4:6] + bytes(2) + _ITEM, "an item that is no picture in AV1")


def _size_of_properties(file: bytes, start: int, end: int) -> Size:
    """The size in ``ispe``; other properties are those of a plain picture, each of them once."""
    boxes = list(_boxes(file, start, end))
    _require([name for name, _, _ in boxes] == [b"ipco", b"ipma"], "another form of iprp")
    properties = list(_boxes(file, boxes[0][1], boxes[0][2]))
    names = [name for name, _, _ in properties]
    _require(
        sorted(names) == [b"av1C", b"colr", b"ispe", b"pixi"], "other properties than a plain picture has"
    )
    content = {name: file[first:stop] for name, first, stop in properties}
    _require(content[b"colr"][:4] == b"nclx", "a colour profile")
    _require(content[b"pixi"] == bytes(4) + b"\3\10\10\10", "other samples than three of 8 bits")
    _, width, height = struct.unpack(">III", content[b"ispe"])
    return Size(height, width)


def _check_sequence(data: bytes, size: Size) -> None:
    """The AV1 stream is one frame, whose sequence has that size and is a still picture's.

    A frame may be smaller than its sequence says, but never larger.
    """
    at, seen = 0, []
    while at < len(data):
        head = data[at]
        _require(
            head & 0x87 == 0x02, "an OBU of another form"
        )  # no forbidden bit, no extension, with its size
        length, at = _leb128(data, at + 1)
        _require(length <= len(data) - at, "an OBU that ends too late")
        seen.append(head >> 3)
        if seen[-1] == _SEQUENCE_HEADER:
            _require(_size_of_sequence(data[at : at + length]) == size, "a sequence of another size")
        at += length
    _require(seen == [_DELIMITER, _SEQUENCE_HEADER, _FRAME], "other OBUs than one frame's")


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to 4 bytes of 7 bits, and the place behind it."""
    value = 0
    for n in range(4):
        value |= (data[at + n] & 0x7F) << 7 * n
        if data[at + n] < 0x80:
            return value, at + n + 1
    raise InvalidStream("the file of the graphic: a length of too many bytes")


def _size_of_sequence(header: bytes) -> Size | None:
    """The size of a reduced still picture header's frames; None if it is another header."""
    bits = "".join(f"{byte:08b}" for byte in header[:16])
    if bits[3:5] != "11":  # still_picture, reduced_still_picture_header
        return None
    across, down = int(bits[10:14], 2) + 1, int(bits[14:18], 2) + 1  # bits of width - 1 and of height - 1
    width, height = bits[18 : 18 + across], bits[18 + across : 18 + across + down]
    return Size(int(height, 2) + 1, int(width, 2) + 1)

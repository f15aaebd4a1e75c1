"""Whether an upload is kept as a graphic instead of layers of the network, and as which.

Without loss where that is no larger than the network's stream, as AVIF of no less PSNR where that takes less
than half of what would be kept otherwise. Photographs are told by a cheap test and cost nothing more.
"""

from collections.abc import Callable
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image

from model.codec.graphics import Pixels, can_be_graphic, decode, encode_avif, encode_lossless
from model.codec.pixels import squared_error
from model.errors import EncodeError
from model.geometry import Size

FLAT = 1 / 3
"""Share of pixels that equal their left neighbour from which on a picture may be a drawing."""
EVEN = 3 / 4
"""Share of them among those that differ from it by at most ``_LITTLE`` levels. Held-out photographs have at
most 0.42, since their smooth parts have a grain or a shade, and 0.73 enlarged to 12 megapixels; drawings have
0.99, and 0.80 after a JPEG of quality 92."""
MOST_GAINED = 6
"""Times fewer bytes that a drawing takes without loss than the cheap estimate says; 5.3 is the most seen."""
POOR = 30.0
"""PSNR in dB. Below it the network's stream falls apart, and an AVIF as good as this need not save bytes."""
FEW_BYTES = 2**15
"""A picture without loss of no more bytes is kept so: what AVIF might save is not worth the loss."""
SMALL = 2**11
"""Pixels of a picture that is so small that everything is tried."""
MAX_AVIF_PIXELS = 2**23
"""AVIF is tried up to so many pixels: some 20 seconds of a core."""

_LITTLE = 3
_ROWS = 8
"""One row of so many is looked at."""
_BAND, _BANDS = 16, 128
"""Of so many rows (the second number) so many are coded to estimate a picture's size without loss."""
_QUALITIES = range(20, 100, 4)
"""AVIF's own qualities that are tried; 44 is where most drawings come as close as their streams."""
_FIRST = _QUALITIES.index(44)
_DECIBELS = 1.1
"""What a further one of these brings, about."""
_SMALLER = 0.8
"""No fewer of the bytes remain when one of them is given up."""
_CLOSE = 0.6
"""Decibels above the wanted ones that are not worth another try."""

_EXACT = 100.0
"""What a picture without any error counts as, in decibels: numbers that end can be compared."""
_STEP = 5
"""By so much the quality of a small picture is raised at a time that is poor."""

Decode = Callable[[bytes], Pixels]
Encode = Callable[[int], bytes]
"""Gives the stream of the picture at a quality, 1-100."""


def best_stream(pixels: Pixels, stream: bytes, quality: int, encoder: Encode, decoder: Decode) -> bytes:
    """What is to be stored of a picture (height, width, 3): its ``stream``, or the stream of a graphic; or,
    of a small picture that would be poor, its stream at the least higher quality at which it is not.

    ``quality``, 1-100, is that of the stream, which ``decoder`` decodes; ``encoder`` makes others.
    """
    size = Size(*pixels.shape[:2])
    if not can_be_graphic(size) or not looks_drawn(pixels, len(stream)):
        return stream
    hopeless = _estimated_bytes(pixels) > MOST_GAINED * len(stream)
    exact = None if hopeless else _attempted(partial(encode_lossless, pixels))
    kept = exact if exact is not None and len(exact) <= len(stream) else stream
    if kept is exact and len(exact) <= FEW_BYTES:
        return exact
    if size.area <= MAX_AVIF_PIXELS:
        reached = psnr(pixels, decoder(stream))
        limit = len(kept) / 2 if reached >= POOR else len(kept)
        avif = _smallest_avif(pixels, quality, max(reached, POOR), limit)
        if avif is None and kept is stream and reached < POOR and size.area <= SMALL:
            return _good_enough(pixels, quality, encoder, decoder)
        return avif or kept
    return kept


def _good_enough(pixels: Pixels, quality: int, encoder: Encode, decoder: Decode) -> bytes:
    """The stream of a small picture at the least quality above this one at which it is not poor, or at the
    highest.
    """
    while True:
        quality = min(100, quality + _STEP)
        stream = encoder(quality)
        if quality == 100 or psnr(pixels, decoder(stream)) >= POOR:
            return stream


def looks_drawn(pixels: Pixels, budget: int) -> bool:
    """A cheap guess whether a picture may be kept as a graphic of at most some ``budget`` of bytes.

    A picture is small, or evenly flat, or has few bytes without loss, as an eighth of its rows tells.
    """
    if pixels.shape[0] * pixels.shape[1] <= SMALL:
        return True
    rows = pixels[::_ROWS].astype(np.int16)
    steps = np.abs(rows[:, 1:] - rows[:, :-1]).max(-1)
    flat, smooth = np.count_nonzero(steps == 0), np.count_nonzero(steps <= _LITTLE)
    evenly_flat = flat >= FLAT * rows.shape[0] * rows.shape[1] and flat >= EVEN * smooth
    return evenly_flat or _estimated_bytes(pixels) <= budget


def psnr(original: Pixels, decoded: Pixels) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures in decibels, infinite for equal ones."""
    error = squared_error(original, decoded) / original.size
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def _estimated_bytes(pixels: Pixels) -> float:
    """Bytes without loss at the lowest effort, from bands of rows."""
    rows = pixels[np.arange(len(pixels)) % _BANDS < _BAND]
    out = BytesIO()
    Image.fromarray(rows).save(out, "webp", lossless=True, method=0, quality=0)
    return len(out.getvalue()) * len(pixels) / len(rows)


def _attempted(encode: Callable[[], bytes]) -> bytes | None:
    """The stream that ``encode`` makes; None where it cannot."""
    try:
        return encode()
    except EncodeError:
        return None


def _smallest_avif(pixels: Pixels, quality: int, wanted: float, limit: float) -> bytes | None:
    """The AVIF graphic of about the lowest quality with ``wanted`` decibels; None without one of fewer bytes
    than ``limit``.
    """
    worse, better, at, wanted = -1, len(_QUALITIES), _FIRST, min(wanted, _EXACT)
    best: bytes | None = None
    while worse < at < better:
        found = _attempted(partial(encode_avif, pixels, quality, _QUALITIES[at]))
        if found is None:
            return None
        reached = min(psnr(pixels, decode(found)), _EXACT)
        if len(found) * _SMALLER ** max(0.0, (reached - wanted) / _DECIBELS) >= limit:
            return None
        if reached >= wanted:
            best, better = found, at
        else:
            worse = at
        if 0 <= reached - wanted <= _CLOSE:
            break
        step = round((wanted + _CLOSE / 2 - reached) / _DECIBELS)
        at = min(max(at + step, worse + 1), better - 1)
    return best if best is not None and len(best) < limit else None

"""Bytes and PSNR of every layer of our own streams, as they would be stored and decoded."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import model
from benchmarks.measure.cache import Cache, Measurement, code_digest
from benchmarks.measure.pictures import Picture, Pixels, psnr
from model.codec.codec import Codec, downscale
from model.codec.refine import Effort
from model.geometry import Size
from model.stream.container import read_header


class Meter:
    """Measures one codec; what was measured before comes from the cache.

    A measurement is kept for the weights and the code it was made with, the kind of device and the precision.
    ``steps``: of the search for latents with which all is coded, 0 for none.
    """

    def __init__(self, codec: Codec, cache: Cache, steps: int = 0) -> None:
        self._codec = codec
        self._cache = cache
        self._steps = steps
        code = code_digest(Path(model.__path__[0]), without="training")
        self._version = f"{codec.model_id.hex()} {code} {codec.device.type} {codec.dtype}"

    @property
    def codec(self) -> Codec:
        """The codec that is measured."""
        return self._codec

    def layers(self, picture: Picture, sizes: Sequence[Size], quality: int) -> Measurement:
        """(Bytes from the stream's start, PSNR) of each layer, smallest first.

        ``sizes`` as for :meth:`Codec.encode`; the header counts. A layer is compared with the
        picture scaled down to its size.
        """
        how = f"{quality}" + (f", {self._steps} steps" if self._steps else "")
        return self.kept(
            picture, sizes, how, lambda: measure(self._codec, picture, sizes, quality, self._steps)
        )

    def kept(
        self, picture: Picture, sizes: Sequence[Size], how: str, measure: Callable[[], Measurement]
    ) -> Measurement:
        """What ``measure()`` returns for a picture in layers of ``sizes``, coded in the way ``how``."""
        key = f"{self._version} {picture.digest} {' '.join(map(str, sizes))} {how}"
        return self._cache.get(key, measure)


def measure(
    codec: Codec, picture: Picture, sizes: Sequence[Size], quality: int, steps: int = 0
) -> Measurement:
    """As :meth:`Meter.layers`, for any codec, measured now."""
    return [[end, decibels] for end, decibels, _ in decoded_layers(codec, picture, sizes, quality, steps)]


def decoded_layers(
    codec: Codec, picture: Picture, sizes: Sequence[Size], quality: int, steps: int = 0
) -> Iterator[tuple[int, float, Pixels]]:
    """(Bytes from the stream's start, PSNR, pixels) of each layer, smallest first."""
    stream = codec.encode(picture.pixels, list(sizes), quality, effort=Effort(steps))
    return layers_of(codec, picture, stream)


def layers_of(codec: Codec, picture: Picture, stream: bytes) -> Iterator[tuple[int, float, Pixels]]:
    """The same of a stream that the picture was coded as."""
    header = read_header(stream)
    below = None
    for number, layer in enumerate(header.layers):
        pixels = codec.decode(stream[: layer.end], number, start=below)
        yield layer.end, psnr(scaled(picture, header.sizes[number]).pixels, pixels), pixels
        below = number, pixels


def scaled(picture: Picture, size: Size) -> Picture:
    """The picture scaled down to ``size`` as the codec does it for its layers; itself at its own size."""
    if size == picture.size:
        return picture
    return Picture(f"{picture.name} {size}", downscale(picture.pixels, size))

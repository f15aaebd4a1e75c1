"""What a worker does with one job: a picture in, its stream out; a stream prefix in, a picture out."""

from io import BytesIO

import numpy as np
import torch
from PIL import Image

from model.clock import StageClock
from model.codec import Codec
from model.container import Header, read_header, verify
from model.errors import CompassError, StreamError
from model.geometry import Box, whole
from model.ladder import layer_sizes
from service import pictures
from service.errors import BadParameter, BadPicture, DamagedStream
from service.jobs import Render, Rendered, Upload, Uploaded
from service.lru import BoundedCache
from service.settings import Settings
from service.sizing import MAX_UPSCALE, decoded_alone
from service.thumbhash import average_colour, thumbhash

_TURNS = {
    90: Image.Transpose.ROTATE_270,  # Pillow turns anticlockwise
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


class Tasks:
    """Made once in each worker; loads the codec. Safe to call from several threads.

    Keeps the layers it decoded, at most ``worker_cache_bytes`` of pixels, and continues the same
    picture's larger layers from there. A small part of a layer is decoded alone, and not kept.
    """

    def __init__(self, settings: Settings) -> None:
        cuda = settings.device != "cpu" and torch.cuda.is_available()
        threads = torch.get_num_threads()  # this worker's share of the cores
        torch.set_num_threads(1)  # the codec divides pictures among threads itself
        self._codec = Codec.load(settings.profile, "cuda" if cuda else "cpu", threads)
        self.model_id = self._codec.model_id
        self._max_pixels = settings.max_pixels
        self._layers: BoundedCache[tuple[str, int], np.ndarray] = BoundedCache(settings.worker_cache_bytes)

    def warm_up(self) -> None:
        """Code and decode a small picture, so that no client waits for what is loaded on first use."""
        pixels = np.zeros((192, 256, 3), np.uint8)
        stream = self._codec.encode(pixels, [(128, 96), (256, 192)], quality=75)
        self._codec.decode(stream)

    def upload(self, job: Upload) -> Uploaded:
        """Code an upload. Raises a :class:`service.errors.ServiceError` for bad input."""
        clock = StageClock()
        with clock.stage("open"):
            picture = pictures.read(job.data, self._max_pixels, job.max_width)
        sizes = layer_sizes(picture.rgb.size, job.widths)
        with clock.stage("code"):
            try:
                stream = self._codec.encode(np.asarray(picture.rgb), sizes, job.quality)
                verify(stream)
            except StreamError as error:
                raise DamagedStream(f"the coded stream is not whole: {error}") from error
            except CompassError as error:
                raise BadPicture(str(error)) from error
        with clock.stage("extras"):
            alpha = picture.alpha
            planes = tuple(pictures.write_alpha(alpha, size) for size in sizes) if alpha else ()
            return Uploaded(
                stream=stream,
                width=picture.rgb.width,
                height=picture.rgb.height,
                source_format=picture.format,
                alpha=planes,
                thumbhash=thumbhash(picture.rgb, alpha),
                average=average_colour(picture.rgb, alpha),
                seconds=clock.seconds,
            )

    def render(self, job: Render) -> Rendered:
        """Decode and write a layer. Raises a :class:`service.errors.ServiceError` for bad input."""
        clock = StageClock()
        try:
            header = read_header(job.stream)
            pixels, part, decoded = self._decode(job, header, clock)
        except StreamError as error:
            raise DamagedStream(str(error)) from error
        with clock.stage("resize"):
            image = self._resize(Image.fromarray(pixels), part, job)
            image = _turn(image, job)
        with clock.stage("encode"):
            body = pictures.write(image, job.format, job.quality, job.background)
        return Rendered(
            body=body,
            media_type=pictures.MEDIA_TYPES[job.format],
            width=image.width,
            height=image.height,
            layers_decoded=decoded,
            seconds=clock.seconds,
        )

    def _resize(self, image: Image.Image, part: Box, job: Render) -> Image.Image:
        """Cut out and resize: antialiased downwards, by LIFF upwards (up to MAX_UPSCALE).

        A part is cut out before it is enlarged: LIFF's work is for the answer's pixels alone, and does not
        see beyond the part's edges.

        ``image`` is the ``part`` of the layer that was decoded.
        """
        if job.alpha is not None:
            alpha = Image.open(BytesIO(job.alpha), formats=("PNG",))
            image.putalpha(alpha.crop((part.left, part.top, part.right, part.bottom)))
        left, top, right, bottom = job.crop or (part.left, part.top, part.right, part.bottom)
        box = left - part.left, top - part.top, right - part.left, bottom - part.top
        width, height = box[2] - box[0], box[3] - box[1]
        if (width, height) == job.size:
            return image if box == (0, 0, *image.size) else image.crop(box)
        resized = image.resize(job.size, Image.Resampling.LANCZOS, box=box)
        if not (width < job.size[0] <= MAX_UPSCALE * width and height < job.size[1] <= MAX_UPSCALE * height):
            return resized
        small = np.asarray(image.convert("RGB").crop(box))
        large = Image.fromarray(self._codec.enlarge(small, job.size))
        if job.alpha is not None:
            large.putalpha(resized.getchannel("A"))
        return large

    def _decode(self, job: Render, header: Header, clock: StageClock) -> tuple[np.ndarray, Box, int]:
        """Pixels of the layer or of a part of it, which part, and how many layers were decoded for it."""
        if not 0 <= job.layer < len(header.layers):
            raise BadParameter(f"layer {job.layer} of {len(header.layers)}")
        pixels, first = None, 0
        for k in range(job.layer, -1, -1):
            pixels = self._layers.get((job.key, k))
            if pixels is not None:
                first = k + 1
                break
        size = header.layers[job.layer].height, header.layers[job.layer].width
        if job.crop is not None and first <= job.layer and decoded_alone(job.crop, size[::-1]):
            left, top, right, bottom = job.crop
            part = Box(top, left, bottom, right)
            start = None if pixels is None else (first - 1, pixels)
            pixels = self._codec.decode(job.stream, job.layer, part, start, clock)
            return pixels, part, job.layer + 1 - first
        for k in range(first, job.layer + 1):
            start = None if pixels is None else (k - 1, pixels)
            pixels = self._codec.decode(job.stream, k, start=start, clock=clock)
            self._layers.put((job.key, k), pixels, pixels.nbytes)
        assert pixels is not None
        return pixels, whole(size), job.layer + 1 - first


def _turn(image: Image.Image, job: Render) -> Image.Image:
    if job.mirror:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if job.rotation:
        image = image.transpose(_TURNS[job.rotation])
    if job.bitonal:
        return image.convert("L").point(lambda value: 255 * (value >= 128))
    if job.gray:
        image = image.convert("LA").convert("RGBA") if image.mode == "RGBA" else image.convert("L")
    return image

"""What a worker does with its jobs: a picture in, its stream out; stream prefixes in, pictures out."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

import numpy as np
import torch
from PIL import Image

from model.clock import StageClock
from model.codec.codec import Codec, batch_key
from model.codec.graphics import FORMATS
from model.codec.parallel import Threads
from model.codec.pixels import size_of
from model.codec.refine import EFFORTS, MOST_ERROR, NO_EFFORT, Effort
from model.errors import CompassError, StreamError, UnknownModel
from model.geometry import Box, Size, whole
from model.stream.container import Header, read_graphic, read_header, verify
from service.cache import BoundedCache
from service.errors import BadParameter, BadPicture, DamagedStream, ServiceError, WeightsMissing
from service.messages.credits import NOBODY
from service.messages.jobs import Recode, Recoded, Refine, Refined, Render, Rendered, Upload, Uploaded
from service.messages.plans import picture_of
from service.planning.formats import MEDIA_TYPES
from service.planning.sizing import decoded_alone
from service.settings import WorkerSettings
from service.worker import imagefile
from service.worker.canvas import resized, turned
from service.worker.graphics import best_stream
from service.worker.saliency import salient_point
from service.worker.thumbhash import average_colour, thumbhash

BATCH_WRITERS = 8
"""So many pictures of a batch are resized and written side by side."""


@dataclass
class _Rendering:
    """A rendering under way.

    ``part`` of the wanted layer is needed, and nothing but it is decoded if ``alone``; ``pixels`` are those
    of the layer below ``first`` as long as layers from ``first`` on have yet to be decoded, at last those of
    the part. ``error`` is set when the stream turns out to be damaged.
    """

    job: Render
    header: Header
    part: Box
    alone: bool
    first: int
    pixels: np.ndarray | None
    error: ServiceError | None = None
    clock: StageClock = field(default_factory=StageClock)

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for those that can be decoded together."""
        layer = self.job.layer
        return layer, self.first, self.part, self.alone, batch_key(self.header, layer)


class Tasks:
    """Made once in each worker; loads the codec of the settings' profile, unless one is given. Safe to call
    from several threads.

    Keeps the layers it decoded, at most ``worker_cache_bytes`` of pixels, and continues the same
    picture's larger layers from there. A small part of a layer is decoded alone, and not kept.
    """

    def __init__(self, settings: WorkerSettings, codec: Codec | None = None) -> None:
        cuda = settings.device != "cpu" and torch.cuda.is_available()
        threads = torch.get_num_threads()  # this worker's share of the cores
        torch.set_num_threads(1)  # the codec divides pictures among threads itself
        self._codec = codec or Codec.load(settings.profile, "cuda" if cuda else "cpu", threads)
        self.model_id = self._codec.model_id
        self._in_use = {self.model_id}
        self._loading = Lock()
        self._max_pixels = settings.max_pixels
        self._graphics = settings.graphics
        self._keeps_gamut = settings.gamut == "keep"
        self._writers = Threads(BATCH_WRITERS)
        self._layers: BoundedCache[tuple[str, int], np.ndarray] = BoundedCache(settings.worker_cache_bytes)

    def warm_up(self) -> None:
        """Code and decode a small picture, so that no client waits for what is loaded on first use."""
        pixels = np.zeros((192, 256, 3), np.uint8)
        stream = self._codec.encode(pixels, [Size(96, 128), Size(192, 256)], quality=75)
        self._codec.decode(stream)

    def forget(self, pictures: Collection[str] | None) -> None:
        """Keep no decoded layers of these pictures; None: of any."""
        self._layers.drop_where(lambda key: pictures is None or picture_of(key[0]) in pictures)

    def upload(
        self, job: Upload, effort: Effort = NO_EFFORT, told: Callable[[float], None] = lambda share: None
    ) -> Uploaded:
        """Code an upload. Raises a :class:`service.errors.ServiceError` for bad input.

        With ``effort`` latents are searched for, unless the picture is kept as a graphic, and ``told`` is
        called with the share of the search that is over.
        """
        clock = StageClock()
        with clock.stage("open"):
            picture = imagefile.read(
                job.data, self._max_pixels, job.max_width, self._keeps_gamut, job.first_frame
            )
        pixels = np.asarray(picture.rgb)
        sizes = job.ladder.sizes(size_of(pixels))
        try:
            stream = self._coded(pixels, sizes, job.quality, clock)
            if effort.steps and not read_header(stream).is_graphic:
                with clock.stage("code"):
                    stream = self._codec.encode(pixels, sizes, job.quality, effort=effort, told=told)
            verify(stream)
        except StreamError as error:
            raise DamagedStream(f"the coded stream is not whole: {error}") from error
        except CompassError as error:
            raise BadPicture(str(error)) from error
        header = read_header(stream)
        with clock.stage("extras"):
            alpha = picture.alpha
            sizes_kept = [(size.width, size.height) for size in header.sizes]
            planes = tuple(imagefile.write_alpha(alpha, size) for size in sizes_kept) if alpha else ()
            shown = imagefile.in_srgb(picture.rgb, picture.profile)
            return Uploaded(
                stream=stream,
                width=picture.rgb.width,
                height=picture.rgb.height,
                source_format=picture.format,
                source_bits=picture.bits,
                salient=salient_point(shown, alpha),
                credits=picture.credits if job.credits else NOBODY,
                alpha=planes,
                thumbhash=thumbhash(shown, alpha),
                average=average_colour(shown, alpha),
                profile=picture.profile,
                seconds=clock.seconds,
            )

    def refine(self, job: Refine, told: Callable[[float], None] = lambda share: None) -> Refined:
        """Search for a stream that is smaller than the stored one, has the same layers at the same quality,
        and none of them worse than the stored one by more than 0.05 dB of PSNR. ``told`` is called with the
        share of the search that is over.

        Raises BadPicture if ``data`` is not what the stream was coded from, DamagedStream if the stream is
        damaged, and WeightsMissing if it was not coded with the weights of this worker.
        """
        began = time.process_time()
        try:
            header = read_header(job.stream)
            if header.model_id != self.model_id:
                raise WeightsMissing("pictures are refined with the weights that coded them")
            top = header.sizes[-1]
            picture = np.asarray(imagefile.read(job.data, self._max_pixels, top.width, job.keep_gamut).rgb)
            if size_of(picture) != top:
                raise BadPicture(f"the upload has {size_of(picture)} pixels, its stream {top}")
            effort = Effort(EFFORTS[job.effort])
            quality = header.layers[-1].quality
            found = self._codec.encode(picture, header.sizes, quality, effort=effort, told=told)
            verify(found)
            better = len(found) < len(job.stream) and self._as_good(found, job.stream, picture)
        except StreamError as error:
            raise DamagedStream(str(error)) from error
        except CompassError as error:
            raise BadPicture(str(error)) from error
        return Refined(found if better else b"", time.process_time() - began)

    def recode(self, job: Recode) -> Recoded:
        """Code a stored picture anew with the weights of this worker, in the same layers at the same quality;
        the new stream is decoded once.

        Raises BadPicture if the upload is not what the stream was coded from, DamagedStream if the stream is
        damaged, and WeightsMissing if it has to be decoded and its weights are not installed.
        """
        began = time.process_time()
        try:
            header = read_header(job.stream)
            if header.is_graphic:
                raise BadParameter("graphics are coded without weights")
            top = header.sizes[-1]
            if job.data:
                pixels = np.asarray(imagefile.read(job.data, self._max_pixels, top.width, job.keep_gamut).rgb)
                if size_of(pixels) != top:
                    raise BadPicture(f"the upload has {size_of(pixels)} pixels, its stream {top}")
            else:
                with self._first_use(header.model_id):
                    pixels = self._codec.decode(job.stream)
            found = self._codec.encode(pixels, header.sizes, header.layers[-1].quality)
            verify(found)
            self._codec.decode(found)
        except UnknownModel as error:
            raise WeightsMissing(str(error)) from error
        except StreamError as error:
            raise DamagedStream(str(error)) from error
        except CompassError as error:
            raise BadPicture(str(error)) from error
        return Recoded(found, time.process_time() - began)

    def _as_good(self, stream: bytes, other: bytes, picture: np.ndarray) -> bool:
        """Whether no layer of a stream, decoded, is further from the picture than in another stream of the
        same layers, but for MOST_ERROR. The other may come from another machine.
        """
        pairs = zip(self._codec.errors(stream, picture), self._codec.errors(other, picture), strict=True)
        return all(error <= MOST_ERROR * error_of_other for error, error_of_other in pairs)

    def _coded(self, pixels: np.ndarray, sizes: Sequence[Size], quality: int, clock: StageClock) -> bytes:
        """The stream to keep of a picture: the network's, or a graphic's."""
        with clock.stage("code"):
            stream = self._codec.encode(pixels, sizes, quality)
        if not self._graphics:
            return stream
        with clock.stage("graphics"):
            encoder = partial(self._codec.encode, pixels, sizes)
            return best_stream(pixels, stream, quality, encoder, self._codec.decode)

    def render(self, job: Render) -> Rendered:
        """Decode and write a layer. Raises a :class:`service.errors.ServiceError` for bad input."""
        result = self.render_batch([job])[0]
        if isinstance(result, ServiceError):
            raise result
        return result

    def render_batch(self, jobs: Sequence[Render]) -> list[Rendered | ServiceError]:
        """The same of several jobs: pictures whose layers have the same sizes are decoded together. Bad
        input is the error of its own job alone.
        """
        begun = [self._begin(job) for job in jobs]
        kinds: dict[tuple[object, ...], list[_Rendering]] = {}
        for rendering in begun:
            if isinstance(rendering, _Rendering):
                kinds.setdefault(rendering.kind, []).append(rendering)
        for renderings in kinds.values():
            self._decode(renderings)
        return self._writers.map(self._finish, begun)

    def _begin(self, job: Render) -> _Rendering | ServiceError:
        try:
            header = read_header(job.stream)
        except StreamError as error:
            return DamagedStream(str(error))
        if not 0 <= job.layer < len(header.layers):
            return BadParameter(f"layer {job.layer} of {len(header.layers)}")
        pixels, first = None, 0
        for k in range(job.layer, -1, -1):
            pixels = self._layers.get((job.key, k))
            if pixels is not None:
                first = k + 1
                break
        size = header.sizes[job.layer]
        part, alone = whole(size), False
        crop = job.plan.crop
        in_parts = first <= job.layer and not header.is_graphic
        if crop is not None and in_parts and decoded_alone(crop, size):
            part, alone = crop, True
        return _Rendering(job, header, part, alone, first, pixels)

    def _decode(self, renderings: Sequence[_Rendering]) -> None:
        """Decode renderings of one kind together; if that fails, each by itself, to see whose fault it is."""
        try:
            with self._first_use(renderings[0].header.model_id):
                self._decode_together(renderings)
        except UnknownModel as error:
            for rendering in renderings:
                rendering.error = WeightsMissing(str(error))
        except StreamError as error:
            if len(renderings) == 1:
                renderings[0].error = DamagedStream(str(error))
                return
            for rendering in renderings:
                self._decode([rendering])

    @contextmanager
    def _first_use(self, model_id: bytes) -> Iterator[None]:
        """Other weights are loaded at their first use: by one thread, while the others wait."""
        if model_id in self._in_use:
            yield
            return
        with self._loading:
            yield
        self._in_use.add(model_id)

    def _decode_together(self, renderings: Sequence[_Rendering]) -> None:
        distinct = {rendering.job.key: rendering for rendering in renderings}  # one may be asked for twice
        streams = [rendering.job.stream for rendering in distinct.values()]
        pixels = [r.pixels for r in distinct.values() if r.pixels is not None]
        first, layer, part = renderings[0].first, renderings[0].job.layer, renderings[0].part
        clock = StageClock()
        if renderings[0].alone:
            start = (first - 1, pixels) if pixels else None
            pixels = self._codec.decode_batch(streams, layer, part, start, clock)
        else:
            for k in range(first, layer + 1):
                start = (k - 1, pixels) if pixels else None
                pixels = self._codec.decode_batch(streams, k, start=start, clock=clock)
                for key, decoded in zip(distinct, pixels, strict=True):
                    self._layers.put((key, k), decoded, decoded.nbytes)
        of_picture = dict(zip(distinct, pixels, strict=True))
        for rendering in renderings:
            rendering.pixels = of_picture[rendering.job.key]
            for stage, seconds in clock.seconds.items():
                rendering.clock.add(stage, seconds)

    def _finish(self, rendering: _Rendering | ServiceError) -> Rendered | ServiceError:
        if isinstance(rendering, ServiceError):
            return rendering
        if rendering.error is not None:
            return rendering.error
        plan, clock = rendering.job.plan, rendering.clock
        assert rendering.pixels is not None
        with clock.stage("resize"):
            decoded = Image.fromarray(rendering.pixels)
            shown = resized(decoded, rendering.part, plan, rendering.job.alpha, self._codec.enlarge)
            image = turned(shown, plan)
        with clock.stage("encode"):
            graphic = rendering.header.is_graphic
            body = imagefile.write(
                image,
                plan.format,
                plan.quality,
                plan.background,
                graphic,
                rendering.job.profile,
                rendering.job.credits,
            )
            if (
                image is decoded
                and rendering.job.alpha is None
                and not (rendering.job.profile or rendering.job.credits)
            ):
                body = min(body, _stored_file(rendering) or body, key=len)
        return Rendered(
            body=body,
            media_type=MEDIA_TYPES[plan.format],
            width=image.width,
            height=image.height,
            layers_decoded=plan.layer + 1 - rendering.first,
            seconds=clock.seconds,
        )


def _stored_file(rendering: _Rendering) -> bytes | None:
    """The file of a graphic that is asked for in the format that it is stored in."""
    header, job = rendering.header, rendering.job
    return read_graphic(header, job.stream) if FORMATS.get(header.kind) == job.plan.format else None

"""The service's two jobs, free of HTTP: keep a picture, and give it back at a wanted size."""

import asyncio
import logging
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Literal
from zlib import crc32

from model.stream.container import Header, read_header
from model.stream.ladder import Ladder
from service.cache import BoundedCache
from service.engine.interface import Engine
from service.errors import BadParameter, DamagedStream, NotFound, ServiceError, UnknownFormat
from service.flights import Flights
from service.messages.jobs import Render, Rendered, Upload
from service.messages.plans import WHITE, RenderPlan
from service.messages.text import on_one_line
from service.metrics import Metrics
from service.planning.cost import rendering_cost, upload_cost
from service.planning.formats import MAX_OUTPUT_EDGE, MEDIA_TYPES
from service.planning.identity import is_picture_id, picture_id, upload_digest
from service.planning.negotiation import accepted_format
from service.planning.plans import PLAIN, Finish, make_plan
from service.planning.quality import ANY, QualityWish, output_quality
from service.planning.sizing import View
from service.settings import Settings
from service.storage.jobs import Stage
from service.storage.originals import Originals
from service.storage.records import Facts, Point, Record
from service.storage.store import Store

log = logging.getLogger("compass")

_ANSWER_OVERHEAD = 2048
"""Bytes counted for each cached answer beside its body."""

Told = Callable[[Stage, float], None]
"""Hears which stage of keeping an upload begins, and what it costs (:mod:`service.planning.cost`), 0 for what
takes no time to speak of.
"""


def unheard(stage: Stage, cost: float) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Keeping:
    """What is wished for of an upload beside its pixels: ``focus`` as :class:`Facts` has it, its ``credits``
    kept, the ``first_frame`` of an animation. These make another picture of it; its ``name`` does not.
    """

    focus: Point | Literal["auto"] | None = None
    credits: bool = False
    first_frame: bool = False
    name: str = ""

    @classmethod
    def wished(
        cls,
        focus: Point | Literal["auto"] | None,
        metadata: Literal["none", "copyright"] | None,
        frame: Literal[0, "0"] | None,
        name: str | None = None,
    ) -> "Keeping":
        """Of the parameters of an upload that are called so; the name is made one line."""
        return cls(focus, metadata == "copyright", frame is not None, on_one_line(name or ""))

    @property
    def identity(self) -> dict[str, object]:
        """What of it is part of the picture's id; nothing if nothing is wished for."""
        wishes = {"focus": self.focus, "credits": self.credits, "first_frame": self.first_frame}
        return {name: value for name, value in wishes.items() if value}


PLAINLY = Keeping()
"""Nothing is."""


@dataclass(frozen=True)
class Order:
    """What to make of a stored picture, fixed but not begun: enough for HEAD and 304.

    ``negotiated`` tells whether Accept chose the format.
    """

    record: Record
    plan: RenderPlan
    negotiated: bool

    @property
    def etag(self) -> str:
        """The entity tag that the answer will have."""
        return self.plan.entity_tag

    @property
    def key(self) -> tuple[str, str]:
        """What the answer is kept under: its picture and its tag."""
        return self.record.id, self.etag

    @property
    def media_type(self) -> str:
        """The media type that the answer will have."""
        return MEDIA_TYPES[self.plan.format]


@dataclass(frozen=True)
class FinishedOrder:
    """An order and its picture; ``seconds`` by stage and ``bytes_read`` are those of its making."""

    picture: Rendered
    bytes_read: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """Bytes that it takes to keep it."""
        return len(self.picture.body) + _ANSWER_OVERHEAD


class Library:
    """Ties store, engine and caches together."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        engine: Engine,
        metrics: Metrics,
        originals: Originals | None = None,
    ) -> None:
        """``originals``: where uploads are kept as they came, if they are."""
        self.settings = settings
        self.store = store
        self.engine = engine
        self.metrics = metrics
        self.originals = originals
        self._answers: BoundedCache[tuple[str, str], FinishedOrder] = BoundedCache(settings.cache_bytes)
        self._rendering: Flights[FinishedOrder] = Flights(metrics.coalesced.inc)
        self._coding: Flights[Record] = Flights(metrics.coalesced.inc)

    async def keep(
        self,
        data: bytes,
        quality: int | None = None,
        widths: Sequence[int] | None = None,
        max_width: int | None = None,
        ttl: int | None = None,
        told: Told = unheard,
        keeping: Keeping = PLAINLY,
    ) -> tuple[Record, bool]:
        """Store an upload; returns its record and whether it is new. The same twice is stored once, and
        ``told`` hears of the first alone.

        What is stored is checked first: if it is damaged, the upload is coded and stored anew.

        Raises a :class:`service.errors.ServiceError`; then nothing was stored, or what was is found
        by the same upload.
        """
        limits = self.settings
        if widths is not None and len(set(widths)) > limits.max_layers:
            raise BadParameter(f"{len(set(widths))} widths; the limit is {limits.max_layers}")
        if ttl is not None and ttl > limits.max_ttl:
            raise BadParameter(f"ttl: the limit is {limits.max_ttl} seconds")
        quality = quality or limits.quality
        ladder = limits.ladder_of(widths)
        digest = await asyncio.to_thread(upload_digest, data)
        picture = picture_id(digest, quality, ladder, max_width, keeping.identity)
        known = await self._known(picture, ttl)
        if known is not None:
            if self.originals is not None:
                known = await self.originals.attach(known, digest.hex(), data)
            return known, False
        key = f"upload:{digest.hex()}"
        job = Upload(key, data, quality, ladder, max_width, keeping.first_frame, keeping.credits)
        record = await self._coding.join(
            picture, lambda: self._code(picture, job, digest.hex(), ttl, told, keeping)
        )
        return await self.store.extend(record, _end(ttl)) or record, True

    async def _known(self, picture: str, ttl: int | None) -> Record | None:
        """A picture that is stored and whole, to live at least ``ttl`` seconds from now; else None."""
        try:
            record = await self.store.verify(picture)
            extended = await self.store.extend(record, _end(ttl))
            if extended is not None:
                await self.store.confirm(extended)
                await self.store.reindex(extended)
            return extended
        except NotFound:
            return None
        except DamagedStream as error:
            log.warning("picture %s is damaged and is stored again: %s", picture, error)
            return None
        except UnknownFormat as error:
            log.warning("%s: it is stored again", error)
            return None

    async def _code(
        self, picture: str, job: Upload, digest: str, ttl: int | None, told: Told, keeping: Keeping
    ) -> Record:
        cost = await asyncio.to_thread(upload_cost, job.data)
        told("coding", cost)
        coded = await self.engine.upload(job, cost)
        told("storing", 0)
        header = read_header(coded.stream)
        facts = Facts(
            created=time.time(),
            source_bytes=len(job.data),
            source_format=coded.source_format,
            source_bits=coded.source_bits,
            quality=job.quality,
            alpha=tuple(len(plane) for plane in coded.alpha),
            alpha_crcs=tuple(crc32(plane) for plane in coded.alpha),
            thumbhash=coded.thumbhash,
            average=coded.average,
            expires=_end(ttl),
            profile=b64encode(coded.profile).decode(),
            widths=_offered(header, job.ladder) if header.is_graphic else (),
            original=digest if self.originals else "",
            name=keeping.name,
            focus=keeping.focus,
            salient=coded.salient,
            credits=coded.credits,
        )
        record = Record(picture, header, facts)
        start = time.perf_counter()
        refined = self.settings.refine != "off" and not header.is_graphic
        original = job.data if refined else None
        async with self.originals.kept(picture, digest, job.data) if self.originals else nullcontext():
            record = await self.store.put(record, coded.stream, coded.alpha, original)
        self._observe({**coded.seconds, "store": time.perf_counter() - start})
        self.metrics.pictures_stored.inc()
        self.metrics.kinds_stored.labels(record.header.kind.word).inc()
        self.metrics.source_bytes.inc(len(job.data))
        self.metrics.bytes_stored.inc(record.bytes)
        return record

    async def find(self, picture: str) -> Record:
        """A stored picture's record. Raises NotFound, DamagedStream, UnknownFormat or StoreUnavailable."""
        if not is_picture_id(picture):
            raise NotFound(f"no picture {picture[:64]}")
        return await self.store.record(picture)

    async def rename(self, picture: str, name: str) -> Record:
        """Give a picture another name. Raises NotFound or StoreUnavailable."""
        record = await self.find(picture)
        named = await self.store.amend(record, lambda facts: replace(facts, name=name))
        if named is None:
            raise NotFound(f"no picture {picture}")
        return named

    async def forget(self, picture: str) -> None:
        """Delete a picture, and its original if no other picture has it. Raises NotFound or StoreUnavailable.

        An original that cannot be deleted now is deleted by a later check of the store.
        """
        if not is_picture_id(picture):
            raise NotFound(f"no picture {picture[:64]}")
        digest = held = None
        if self.originals:
            with suppress(NotFound, DamagedStream, UnknownFormat):
                digest = (await self.store.record(picture, fresh=True)).facts.original
        if self.originals and digest:
            held = await self.originals.held(picture, digest)
        await self.store.delete(picture)
        if self.originals and digest and held:
            try:
                await self.originals.release(picture, digest, held)
            except ServiceError as error:
                log.warning("the original of %s stays until the store is checked: %s", picture, error)

    async def with_original(self, picture: str) -> Record:
        """The record of a picture whose upload is kept. Raises NotFound if it is not, or if it is lost."""
        record = await self.find(picture)
        if self.originals is None or not record.facts.original:
            raise NotFound(f"the upload of {record.id} is not kept")
        if await self.originals.size(record.facts.original) is None:
            raise NotFound(f"the upload of {record.id} is lost")
        return record

    async def original(self, record: Record) -> bytes:
        """The upload of a picture, verified. Raises NotFound, DamagedStream or ObjectsUnavailable."""
        if self.originals is None:
            raise NotFound(f"the upload of {record.id} is not kept")
        try:
            return await self.originals.read(record.facts.original)
        except DamagedStream:
            self.metrics.damaged.inc()
            raise

    def order(
        self,
        record: Record,
        view: View,
        output: str | None = None,
        accept: str | None = None,
        wish: QualityWish = ANY,
        finish: Finish = PLAIN,
    ) -> Order:
        """Decide what exactly to render, reading and decoding nothing.

        ``output`` is a name of :data:`service.planning.formats.MEDIA_TYPES`; without it ``accept``, the
        header, decides. Where the ``wish`` names no quality, the settings and the stream's own decide.
        Raises BadParameter or NotAcceptable.
        """
        if view.size.area > self.settings.max_output_pixels:
            raise BadParameter(f"{view.size.width} x {view.size.height} is more than may be asked for")
        possible = [name for name in MEDIA_TYPES if max(view.size) <= MAX_OUTPUT_EDGE[name]]
        if output is not None and output not in possible:
            raise BadParameter(f"{output} has at most {MAX_OUTPUT_EDGE[output]} pixels a side")
        name = output or accepted_format(accept, possible, alpha=bool(record.facts.alpha))
        if not record.facts.alpha or name != "jpeg":  # nothing shows through
            finish = replace(finish, background=WHITE)
        stream_quality = record.header.layers[view.layer].quality
        quality = output_quality(name, stream_quality, wish, self.settings.fixed_quality(name))
        plan = make_plan(record.id, record.header, view, name, quality, finish)
        return Order(record, plan, negotiated=output is None)

    def drop(self, pictures: Collection[str] | None) -> None:
        """Have nothing in memory of pictures that were deleted or replaced, here or elsewhere; None: of any
        picture.
        """
        self.store.forget(pictures)
        self._answers.drop_where(lambda key: pictures is None or key[0] in pictures)
        self.engine.forget(pictures)

    def still_holds(self, order: Order) -> bool:
        """Whether the record that an order was made from is in memory, and the picture lives."""
        return self.store.remembers(order.record)

    def in_memory(self, order: Order) -> FinishedOrder | None:
        """The answer to an order if it is in memory, counted as such; else None."""
        known = self._answers.get(order.key)
        if known is not None:
            self.metrics.cache_hits.labels("answers").inc()
        return known

    async def answer(self, order: Order) -> tuple[FinishedOrder, bool]:
        """Render an order; the flag tells whether the answer was in memory.

        Raises a :class:`service.errors.ServiceError`.
        """
        known = self.in_memory(order)
        if known is not None:
            return known, True
        return await self._rendering.join(order.etag, lambda: self._render(order)), False

    async def _render(self, order: Order) -> FinishedOrder:
        record, plan = order.record, order.plan
        cost = rendering_cost(record.header.sizes, plan)
        start = time.perf_counter()
        told: DamagedStream | None = None
        fetched = False

        async def fetch() -> Render:
            nonlocal told, fetched
            fetched = True
            try:
                stream = await self.store.unverified_prefix(record, plan.layer)  # who decodes it verifies it
                alpha = await self.store.alpha(record, plan.layer)
            except DamagedStream as error:
                told = error
                raise
            return Render(plan, stream, alpha, b64decode(record.facts.profile), record.facts.credits)

        try:
            rendered = await self.engine.carry_out(plan, cost, fetch)
        except DamagedStream as error:
            if error is told:  # the store knows
                raise
            self.store.found_damaged(record.id)
            raise DamagedStream(f"the stored stream of {record.id}: {error}") from error
        seconds = dict(rendered.seconds)
        if "queue" not in seconds:
            seconds["queue"] = max(0.0, time.perf_counter() - start - sum(seconds.values()))
        self._observe(seconds)
        if not fetched:  # who did the work has read the store
            self.metrics.bytes_read.inc(rendered.bytes_read)
        self.metrics.renders.inc()
        self.metrics.layers_decoded.inc(rendered.layers_decoded)
        answer = FinishedOrder(rendered, rendered.bytes_read, seconds)
        self._answers.put(order.key, answer, answer.weight)
        return answer

    def _observe(self, seconds: dict[str, float]) -> None:
        for stage, value in seconds.items():
            self.metrics.stage_seconds.labels(stage).observe(value)


def _offered(header: Header, ladder: Ladder) -> tuple[int, ...]:
    """The widths that a picture would have layers of, were it no graphic."""
    return tuple(size.width for size in ladder.sizes(header.sizes[-1]))


def _end(ttl: int | None) -> float | None:
    """When a life of ``ttl`` seconds that begins now ends; None: never."""
    return None if ttl is None else time.time() + ttl

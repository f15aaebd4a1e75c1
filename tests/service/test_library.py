"""Keeping and rendering, on a real store, with workers that answer as the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any

import pytest
import redis.asyncio as redis

from model.geometry import Size
from model.stream.container import Kind, write_graphic
from model.stream.ladder import Ladder
from service.engine.pool import Pool
from service.errors import BadParameter, DamagedStream, NotFound, WorkerFailed
from service.library import Library, Order
from service.messages.jobs import Render, Rendered, Upload, Uploaded
from service.messages.plans import WHITE, RenderPlan
from service.metrics import Metrics
from service.planning.plans import Finish
from service.planning.quality import QualityWish
from service.planning.sizing import View
from service.routes.schemas import picture_info
from service.settings import Settings
from service.storage.originals import originals_of
from service.storage.store import Store
from service.storage.valkey import EmbeddedValkey
from tests.service.fakes import MODEL_ID, stream

STREAM = stream((50, 40), (100, 80))


class Workers(Pool):
    """What the library asks of a pool; every job is answered once ``open`` is set, and counted."""

    model_id = MODEL_ID

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.uploads: list[Upload] = []
        self.renders: list[Render] = []
        self.failure: Exception | None = None
        self.stream = STREAM
        self.profile = b""
        self.alpha: tuple[bytes, ...] = ()

    async def upload(self, job: Upload, cost: float) -> Uploaded:
        """The ``stream``: of two layers, unless a test says otherwise."""
        self.uploads.append(job)
        await self._work()
        return Uploaded(self.stream, 100, 80, "PNG", self.alpha, profile=self.profile, seconds={"code": 0.5})

    async def render(self, job: Render, cost: float) -> Rendered:
        """Ten bytes."""
        self.renders.append(job)
        await self._work()
        return Rendered(
            b"0123456789",
            f"image/{job.plan.format}",
            job.plan.size.width,
            job.plan.size.height,
            1,
            {"encode": 0.1},
        )

    def check(self, plan: RenderPlan, cost: float) -> None:
        """There is always room."""

    async def _work(self) -> None:
        await self.open.wait()
        if self.failure is not None:
            raise self.failure


Make = Callable[..., Library]


@pytest.fixture
async def make(valkey: EmbeddedValkey) -> AsyncIterator[Make]:
    stores: list[Store] = []

    def made(**settings: Any) -> Library:
        chosen, metrics = Settings(**settings), Metrics()
        stores.append(Store(valkey.url, chosen, metrics))
        return Library(chosen, stores[-1], Workers(), metrics)

    yield made
    for store in stores:
        await store.close()


def workers(library: Library) -> Workers:
    assert isinstance(library.engine, Workers)
    return library.engine


def value(library: Library, name: str, **labels: str) -> float:
    return library.metrics.registry.get_sample_value(name, labels) or 0.0


async def ordered(library: Library, width: int = 30, **how: Any) -> Order:
    record, _ = await library.keep(b"picture")
    return library.order(record, View(0, Size(24, width)), **{"output": "webp", **how})


async def test_an_upload_is_coded_with_the_settings_and_stored_once(make: Make) -> None:
    library = make(quality=33, widths=(40, 20))
    record, new = await library.keep(b"picture")
    assert new
    job = workers(library).uploads[0]
    assert (job.data, job.quality, job.ladder, job.max_width) == (b"picture", 33, Ladder((20, 40), 512), None)
    assert (record.facts.quality, record.facts.source_bytes, record.facts.source_format) == (33, 7, "PNG")
    assert await library.store.prefix(record, 1) == STREAM
    assert await library.keep(b"picture", 33) == (record, False)
    assert len(workers(library).uploads) == 1
    assert value(library, "compass_pictures_stored_total") == 1
    assert value(library, "compass_bytes_stored_total") == len(STREAM)


async def test_what_is_stored_in_another_version_is_coded_anew(make: Make, valkey: EmbeddedValkey) -> None:
    library = make()
    record, _ = await library.keep(b"picture")
    async with redis.Redis.from_url(valkey.url) as raw:
        await raw.setrange(f"{{{record.id}}}:stream", 4, b"\2")
    assert await library.keep(b"picture") == (record, True)
    assert await library.store.prefix(record, 1) == STREAM


async def test_a_profile_is_stored_with_the_facts_and_given_to_who_renders(make: Make) -> None:
    library = make()
    workers(library).profile = bytes(range(256)) * 2
    order = await ordered(library)
    await library.answer(order)
    assert workers(library).renders[0].profile == bytes(range(256)) * 2
    stored = await library.store.record(order.record.id, fresh=True)
    assert stored.facts.profile == order.record.facts.profile != ""


async def test_a_graphic_offers_the_widths_that_were_asked_for(make: Make) -> None:
    library = make()
    graphic = write_graphic(Kind.LOSSLESS, Size(200, 300), 100, b"file")
    workers(library).stream = graphic
    record, _ = await library.keep(b"picture", widths=(50, 100, 290))
    assert record.header.is_graphic
    assert (await library.find(record.id)).facts.widths == (50, 100, 300)
    info = picture_info(record)
    assert (info.kind, info.model, len(info.layers)) == ("lossless", None, 1)
    assert info.srcset == ", ".join(f"/images/{record.id}?width={w} {w}w" for w in (50, 100, 300))
    assert value(library, "compass_kinds_stored_total", kind="lossless") == 1


async def test_equal_uploads_at_once_are_coded_once(make: Make) -> None:
    library = make()
    workers(library).open.clear()
    both = [asyncio.create_task(library.keep(b"picture")) for _ in range(2)]
    async with asyncio.timeout(10):
        while value(library, "compass_coalesced_requests_total") < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    workers(library).open.set()
    (one, _), (other, _) = await asyncio.gather(*both)
    assert one == other
    assert len(workers(library).uploads) == 1


async def test_uploads_wait_to_be_refined_where_that_is_wanted(make: Make) -> None:
    library = make(refine="fast")
    await library.keep(b"picture")
    await library.keep(b"picture")
    assert await library.store.waiting.counts() == (1, 7)
    other = make()
    await other.keep(b"another")
    assert await other.store.waiting.counts() == (1, 7)


async def test_alpha_planes_are_stored_and_named_in_the_facts(make: Make) -> None:
    library = make()
    workers(library).alpha = (b"plane 0", b"plane 01")
    record, _ = await library.keep(b"picture")
    assert record.facts.alpha == (7, 8)
    assert [await library.store.alpha(record, k) for k in (0, 1)] == [b"plane 0", b"plane 01"]


async def test_widths_that_are_named_are_no_default(make: Make) -> None:
    library = make(widths=(40, 20))
    default, _ = await library.keep(b"picture")
    named, new = await library.keep(b"picture", widths=(40, 20, 40))
    assert new
    assert named.id != default.id
    assert [job.ladder for job in workers(library).uploads] == [Ladder((20, 40), 512), Ladder((20, 40))]


async def test_limits_of_an_upload(make: Make) -> None:
    library = make(max_layers=2, max_ttl=10)
    with pytest.raises(BadParameter, match="the limit is 2"):
        await library.keep(b"picture", widths=(1, 2, 3))
    with pytest.raises(BadParameter, match="10 seconds"):
        await library.keep(b"picture", widths=(1,), ttl=11)
    assert workers(library).uploads == []
    _, new = await library.keep(b"picture")  # the default widths are the operator's, four of them
    assert new


async def test_what_fails_stores_nothing(make: Make) -> None:
    library = make()
    workers(library).failure = WorkerFailed("gone")
    with pytest.raises(WorkerFailed):
        await library.keep(b"picture")
    assert await library.store.catalogue.page(None, 9) == ([], None)
    workers(library).failure = None
    assert (await library.keep(b"picture"))[1]


async def test_a_rendering_reads_the_prefix_alone_and_is_made_once(make: Make) -> None:
    library = make()
    order = await ordered(library)
    answer, cached = await library.answer(order)
    end = order.record.header.layers[0].end
    assert (answer.picture.body, cached, answer.bytes_read) == (b"0123456789", False, end)
    assert workers(library).renders[0].stream == STREAM[:end]
    assert answer.seconds.keys() == {"fetch", "encode", "queue"}
    assert await library.answer(await ordered(library)) == (answer, True)
    assert len(workers(library).renders) == 1
    assert value(library, "compass_cache_hits_total", cache="answers") == 1


async def test_equal_orders_at_once_are_one_rendering(make: Make) -> None:
    library = make(cache_bytes=0)
    order = await ordered(library)
    workers(library).open.clear()
    jobs = [asyncio.create_task(library.answer(order)) for _ in range(50)]
    async with asyncio.timeout(10):
        while value(library, "compass_coalesced_requests_total") < 49:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    workers(library).open.set()
    assert len({id(answer) for answer, _ in await asyncio.gather(*jobs)}) == 1
    assert len(workers(library).renders) == 1


async def test_a_stream_that_a_worker_finds_damaged_is_counted_and_forgotten(make: Make) -> None:
    library = make()
    order = await ordered(library)
    workers(library).failure = DamagedStream("a tile")
    with pytest.raises(DamagedStream, match=order.record.id):
        await library.answer(order)
    assert value(library, "compass_damaged_streams_total") == 1


async def test_a_deleted_picture_is_gone(make: Make) -> None:
    library = make()
    record, _ = await library.keep(b"picture")
    assert await library.find(record.id) == record
    await library.forget(record.id)
    for name in (record.id, "no id", "A" * 32, "x" * 1000):
        with pytest.raises(NotFound):
            await library.find(name)
        with pytest.raises(NotFound):
            await library.forget(name)


async def test_an_order_is_bounded(make: Make) -> None:
    library = make(max_output_pixels=1000)
    with pytest.raises(BadParameter, match="more than may be asked for"):
        await ordered(library, width=1000)
    library = make()
    with pytest.raises(BadParameter, match="webp has at most"):
        await ordered(library, width=20_000)
    order = await ordered(library, width=20_000, output=None, accept="image/webp,image/png;q=0.5")
    assert (order.media_type, order.negotiated) == ("image/png", True)  # WebP cannot be so wide


async def test_only_what_shows_is_part_of_an_order(make: Make) -> None:
    """So that two colours under an opaque picture are not two answers in every cache."""
    library = make()
    red = Finish(background="#ff0000")
    opaque = await ordered(library, output="jpeg", finish=red)
    assert opaque.plan.background == WHITE
    workers(library).alpha = (b"plane 0", b"plane 01")
    record, _ = await library.keep(b"transparent")
    view = View(0, Size(24, 30))
    assert library.order(record, view, "jpeg", finish=red).plan.background == "#ff0000"
    assert library.order(record, view, "webp", finish=red).plan.background == WHITE
    assert (
        library.order(record, view, "png", wish=QualityWish(3)).etag
        == library.order(record, view, "png").etag
    )


async def test_an_upload_sent_again_gets_its_original(make: Make, tmp_path: Any) -> None:
    """A picture that was stored before originals were kept has one once its upload comes again."""
    library = make()
    record, _ = await library.keep(b"picture")
    assert record.facts.original == ""
    settings = Settings(originals=f"file://{tmp_path}/originals")
    library.originals = originals_of(settings, library.store)
    record, new = await library.keep(b"picture")
    assert not new
    assert record.facts.original == sha256(b"picture").hexdigest()
    assert await library.original(await library.with_original(record.id)) == b"picture"
    assert len(workers(library).uploads) == 1
    assert [path.name for path in tmp_path.glob("originals/originals/*")] == [record.facts.original]
    await library.forget(record.id)
    assert not list(tmp_path.glob("originals/originals/*"))

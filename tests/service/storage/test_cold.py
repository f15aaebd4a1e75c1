"""Pictures whose large layers lie in a bucket: read as one stream, and never wrong."""

import asyncio

import pytest

from model.stream.container import CodedLayer, read_header, write
from service.errors import DamagedStream, NotFound, ObjectsUnavailable, Replaced
from service.metrics import Metrics
from service.settings import Settings
from service.storage import fsck
from service.storage.store import Store
from tests.service.storage.samples import PLANES, STREAM, record
from tests.service.storage.test_waiting import coded

END = record().header.layers[0].end
COLD = {"cold_width": 100, "cold_seconds": 0, "object_timeout": 5}
NAME = record().id


@pytest.fixture
async def cold_store(valkey, address):
    store = Store(valkey.url, Settings(cold=address, **COLD), Metrics())
    yield store
    await store.close()


async def moved(store, **facts):
    """Store a picture, and move its large layer as the background does."""
    await store.put(record(alpha=(7, 8), **facts), STREAM, PLANES)
    return await move(store)


async def move(store):
    lease = await store.leases.take(NAME)
    known, stream, _ = await store.whole(NAME)
    start = store.cold.start(known.header)
    cold = await store.cold.write(NAME, start, stream[start:])
    found = await store.cool(lease, known, stream[:start], cold)
    await store.leases.give_back(lease)
    return found


def key(known):
    return f"cold/{known.id}/{known.facts.cold.token}"


def value(store, name):
    return store._metrics.registry.get_sample_value(name)


async def test_a_picture_in_two_places_is_one(cold_store, raw, buckets, address):
    known = await moved(cold_store, expires=2e9)
    assert await raw.strlen(f"{{{NAME}}}:stream") == END == known.facts.cold.start
    assert await raw.pttl(f"{{{NAME}}}:stream") > 0
    assert buckets.keys(address) == [key(known)]
    found = await cold_store.record(NAME, fresh=True)
    assert found == known
    assert await cold_store.prefix(found, 0) == STREAM[:END]
    assert await cold_store.prefix(found, 1) == STREAM
    assert value(cold_store, "compass_cold_read_bytes_total") == 2 * (len(STREAM) - END) - (len(STREAM) - END)
    assert await cold_store.whole(NAME) == (found, STREAM, PLANES)
    assert await fsck.check(cold_store, delete=True) == 0
    extended = await cold_store.extend(found, None)
    assert (extended.facts.cold, extended.facts.expires) == (known.facts.cold, None)


async def test_only_what_is_needed_is_read(valkey, address, buckets):
    layers = [
        CodedLayer(w, 48, 75, b"hyper", [b"x" * n] * -(-w // 256))
        for w, n in ((64, 90), (128, 900), (256, 9000))
    ]
    stream = write(b"model-id", 256, layers)
    store = Store(valkey.url, Settings(cold=address, **COLD), Metrics())
    name = record().id
    known = type(record())(name, read_header(stream), record().facts)
    await store.put(known, stream, ())
    found = await move(store)
    ends = [layer.end for layer in found.header.layers]
    buckets.asked.clear()
    for layer in range(3):
        assert await store.prefix(found, layer) == stream[: ends[layer]]
    assert [method for method, _ in buckets.asked] == ["GET", "GET"]
    assert value(store, "compass_cold_read_bytes_total") == ends[1] + ends[2] - 2 * ends[0]
    await store.close()


@pytest.mark.parametrize(
    ("widths", "cold_width", "layers_kept"),
    [
        ((64, 128, 256), 100, 1),
        ((64, 128, 256), 128, 2),
        ((64, 128, 256), 256, None),
        ((64, 128), 10, 1),
        ((64,), 10, None),
    ],
)
async def test_where_a_stream_is_cut(valkey, address, widths, cold_width, layers_kept):
    store = Store(valkey.url, Settings(cold=address, cold_width=cold_width), Metrics())
    header = read_header(write(b"model-id", 256, [CodedLayer(w, 48, 75, b"h", [b"t"]) for w in widths]))
    assert store.cold.start(header) == (None if layers_kept is None else header.layers[layers_kept - 1].end)
    await store.close()


@pytest.mark.parametrize("fault", ["error", "cut", "away"])
async def test_while_it_is_away_small_layers_go_on(cold_store, buckets, fault):
    known = await moved(cold_store)
    with buckets.being(fault):
        with pytest.raises(ObjectsUnavailable):
            await cold_store.prefix(known, 1)
        assert await cold_store.prefix(known, 0) == STREAM[:END]
        with pytest.raises(ObjectsUnavailable):
            await cold_store.verify(NAME)
    assert value(cold_store, "compass_cold_errors_total") >= 1
    assert await cold_store.prefix(known, 1) == STREAM


async def test_wrong_bytes_are_found(cold_store, buckets):
    known = await moved(cold_store)
    with buckets.being("wrong"):
        for reading in (cold_store.prefix(known, 1), cold_store.whole(NAME)):
            with pytest.raises(DamagedStream):
                await reading
    assert await cold_store.prefix(known, 1) == STREAM


@pytest.mark.parametrize("how", ["gone", "short", "wrong"])
async def test_what_is_damaged_there_is_found_by_fsck(cold_store, buckets, address, how, capsys):
    known = await moved(cold_store)
    data = {"gone": None, "short": STREAM[END:-1], "wrong": STREAM[END:-1] + b"!"}[how]
    buckets.change(address, key(known), data)
    with pytest.raises(DamagedStream):
        await cold_store.prefix(known, 1)
    assert await fsck.check(cold_store, delete=False) == fsck.EXIT_DAMAGED
    assert known.id in capsys.readouterr().out
    await cold_store.put(record(alpha=(7, 8)), STREAM, PLANES)  # as when it is uploaded again
    assert await fsck.check(cold_store, delete=False) == 0
    assert (await cold_store.record(NAME, fresh=True)).facts.cold is None


async def test_a_slow_one_is_waited_for_while_others_are_served(cold_store, buckets):
    known = await moved(cold_store)
    with buckets.being("slow"):
        reading = asyncio.create_task(cold_store.prefix(known, 1))
        for _ in range(20):
            assert await cold_store.prefix(known, 0) == STREAM[:END]
        assert not reading.done()
        assert await reading == STREAM


async def test_who_knew_it_from_before_the_move_begins_anew(cold_store):
    """Nobody takes a stream that was cut for a damaged one."""
    await cold_store.put(record(alpha=(7, 8)), STREAM, PLANES)
    before = await cold_store.record(NAME)
    await move(cold_store)
    with pytest.raises(Replaced):
        await cold_store.prefix(before, 1)
    assert await cold_store.prefix(await cold_store.record(NAME), 1) == STREAM
    assert value(cold_store, "compass_damaged_streams_total") == 0


async def test_who_knew_it_from_before_it_came_back_begins_anew(cold_store):
    known = await moved(cold_store)
    await cold_store.delete(NAME)
    await cold_store.put(record(alpha=(7, 8)), STREAM, PLANES)
    with pytest.raises(Replaced):
        await cold_store.prefix(known, 1)
    assert await cold_store.whole(NAME)
    assert value(cold_store, "compass_damaged_streams_total") == 0


async def test_it_goes_with_its_picture(cold_store, buckets, address, raw):
    await moved(cold_store)
    await cold_store.delete(NAME)
    assert buckets.keys(address) == []
    assert [k for k in await raw.keys() if NAME.encode() in k] == []
    with pytest.raises(NotFound):
        await cold_store.record(NAME, fresh=True)


async def test_a_deletion_goes_through_though_it_is_away(cold_store, buckets, address, caplog):
    known = await moved(cold_store)
    with buckets.being("away"):
        await cold_store.delete(NAME)
    assert buckets.keys(address) == [key(known)]
    assert "stay until they are collected" in caplog.text


async def test_a_move_under_way_is_lost_with_its_picture(cold_store, buckets, address):
    """Even if the same picture is stored again before the move ends: what a deletion deletes is nobody's."""
    await cold_store.put(record(), STREAM, ())
    lease = await cold_store.leases.take(NAME)
    known, stream, _ = await cold_store.whole(NAME)
    cold = await cold_store.cold.write(NAME, END, stream[END:])
    await cold_store.delete(NAME)
    await cold_store.put(record(), STREAM, ())
    assert await cold_store.cool(lease, known, stream[:END], cold) is None
    assert await cold_store.prefix(await cold_store.record(NAME, fresh=True), 1) == STREAM


async def test_a_new_stream_is_whole_again(cold_store, buckets, address):
    known = await moved(cold_store)
    other = write(
        b"new new!",
        256,
        [
            CodedLayer(e.width, e.height, 75, b"h", [b"t"] * (1, 6)[k])
            for k, e in enumerate(known.header.layers)
        ],
    )
    lease = await cold_store.leases.take(NAME)
    recoded = await cold_store.recode(lease, known, other)
    assert recoded.facts.cold is None
    assert await cold_store.whole(NAME) == (recoded, other, PLANES)
    with pytest.raises(Replaced):
        await cold_store.prefix(known, 1)


async def test_what_is_refined_is_whole_again_and_what_is_not_stays(cold_store, address):
    stream, smaller = coded(b"b" * 400), coded(b"c" * 300)
    known = type(record())(NAME, read_header(stream), record().facts)
    for found, effort in ((None, "fast"), (smaller, "best")):
        await cold_store.put(known, stream, (), b"upload")
        cooled = await move(cold_store)
        taken, _ = await cold_store.waiting.take()
        refined = await cold_store.replace(taken, cooled, found, effort)
        assert refined.facts.cold == (cooled.facts.cold if found is None else None)
        assert (await cold_store.whole(NAME))[1] == (found or stream)


async def test_a_service_without_the_tier_says_so(cold_store, store):
    await moved(cold_store)
    known = await store.record(NAME)
    assert await store.prefix(known, 0) == STREAM[:END]
    with pytest.raises(ObjectsUnavailable, match="COMPASS_COLD"):
        await store.prefix(known, 1)
    await store.delete(NAME)  # what lies there is collected when there is one again


async def test_facts_that_do_not_fit_are_damage(cold_store, raw):
    known = await moved(cold_store)
    await cold_store.amend(
        known,
        lambda facts: type(facts)(**{**vars(facts), "cold": type(facts.cold)(END + 1, "0" * 16, "0" * 64)}),
    )
    with pytest.raises(DamagedStream):
        await cold_store.record(NAME, fresh=True)

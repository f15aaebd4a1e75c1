"""One picture as a file, and the lists of runs: what is damaged is never taken for a backup."""

import gzip
import io
import json
import tarfile
import time
from dataclasses import replace

import pytest

from model.errors import StreamError
from service.backup.archive import (
    Entry,
    NoBackup,
    Whole,
    contents,
    delete_run,
    entry_of,
    original_key,
    pack,
    read_run,
    runs,
    unpack,
    without_original,
    write_run,
)
from service.errors import DamagedStream, NotFound
from service.settings import Settings
from service.storage.objects import Objects
from service.storage.records import Refinement
from tests.service.storage.samples import PLANES, STREAM, record

WHOLE = Whole(record(alpha=(7, 8), alpha_crcs=(2935617637, 4012405434)), STREAM, PLANES)
WHOLE = replace(WHOLE, record=record(alpha=(7, 8)))
DATA = pack(WHOLE)


@pytest.fixture
def target(tmp_path):
    return Objects(f"file://{tmp_path}/backup", Settings())


def test_what_is_packed_is_unpacked():
    assert unpack(WHOLE.record.id, DATA) == WHOLE
    assert pack(WHOLE) == DATA
    with tarfile.open(fileobj=io.BytesIO(DATA)) as tar:
        assert tar.getnames() == ["facts.json", "stream.cmps", "alpha-0", "alpha-1", "SHA256SUMS"]


def test_no_changed_byte_is_restored():
    refused = 0
    for at in range(0, len(DATA), 97):
        data = DATA[:at] + bytes([DATA[at] ^ 0x41]) + DATA[at + 1 :]
        try:
            assert unpack(WHOLE.record.id, data) == WHOLE  # such as a mode, or padding
        except (DamagedStream, StreamError):
            refused += 1
    assert refused > 0.5 * len(DATA) / 97
    for end in (0, 1, 600, len(DATA) // 2):
        with pytest.raises(DamagedStream):
            unpack(WHOLE.record.id, DATA[:end])


def test_right_sums_of_a_wrong_picture_do_not_help():
    for wrong in (replace(WHOLE, stream=STREAM[:-1] + b"!"), replace(WHOLE, planes=(b"plane 0",))):
        with pytest.raises(DamagedStream):
            unpack(WHOLE.record.id, pack(wrong))
    with pytest.raises(NotFound):
        unpack(WHOLE.record.id, pack(replace(WHOLE, record=record(alpha=(7, 8), expires=time.time() - 1))))


def test_a_version_changes_with_the_picture():
    entry = entry_of(record(original="a" * 64))
    assert entry == entry_of(record(original="a" * 64))
    assert entry.original == "a" * 64
    assert entry.key == f"pictures/aa/{record().id}/{entry.version}.tar"
    others = [record(), record(expires=2e9), record(refined=Refinement("fast", 9))]
    assert len({entry.version, *(entry_of(other).version for other in others)}) == 4


def test_without_its_original_it_is_the_same_picture():
    kept = replace(WHOLE, record=record(alpha=(7, 8), original="a" * 64))
    assert without_original(kept) == WHOLE


async def test_lists_of_runs(target):
    entries = [Entry("a" * 32, "1" * 40), Entry("b" * 32, "2" * 40, "3" * 64)]
    first = await write_run(target, 1_000_000.25, entries[:1])
    second = await write_run(target, 2_000_000, entries)
    assert (
        await runs(target)
        == [first, second]
        == ["1970-01-12T13-46-40.250000Z", "1970-01-24T03-33-20.000000Z"]
    )
    assert await read_run(target, second) == entries
    await target.put(entries[1].key, b"")
    await target.put(original_key("3" * 64), b"")
    await target.put("runs/something else", b"")
    assert sorted([key async for key, _ in contents(target)]) == sorted(
        [entries[1].key, original_key("3" * 64)]
    )
    await delete_run(target, first)
    assert await runs(target) == [second]
    with pytest.raises(NoBackup):
        await read_run(target, first)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [{"format": 1, "began": 0}],
        [{"format": 1, "began": 0}, {"pictures": 1}],
        [{"format": 2, "began": 0}, {"pictures": 0}],
        [{"format": 1, "began": 0}, {"picture": 7, "version": "x"}, {"pictures": 1}],
        [[], {"pictures": 0}],
    ],
)
async def test_lists_that_are_none(target, lines):
    name = await write_run(target, 1_000_000, [])
    data = gzip.compress("\n".join(map(json.dumps, lines)).encode())
    for content in (data, data[:-5], b"text"):
        await target.put(f"runs/{name}.jsonl.gz", content)
        with pytest.raises(NoBackup):
            await read_run(target, name)

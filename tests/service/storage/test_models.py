"""Which weights stored pictures need: counted, and told where they are missing."""

import asyncio
from dataclasses import replace

from model.geometry import Size
from model.installed import installed
from model.stream.container import CodedLayer, Kind, read_header, write, write_graphic
from service.metrics import Metrics
from service.storage import fsck
from service.storage import models as module
from service.storage.models import count, described, watch
from tests.service.storage.samples import STREAM, record

LITE = next(identity for identity, path in installed().items() if path.name == "lite.safetensors")
INSTALLED = write(LITE, 256, [CodedLayer(64, 48, 55, b"hyper", [b"tile"])])
GRAPHIC = write_graphic(Kind.LOSSLESS, Size(2, 3), 100, b"file")


def of(number: int, stream: bytes):
    return replace(record(number), header=read_header(stream))


async def test_every_picture_is_counted_by_its_model(store, capsys):
    for number, stream in enumerate((STREAM, STREAM, INSTALLED, GRAPHIC)):
        await store.put(of(number, stream), stream, ())
    models = await count(store)
    other = read_header(STREAM).model_id
    assert models.pictures == {other: 2, LITE: 1}
    assert models.graphics == 1
    assert models.missing == {other: 2}
    lines = described(models, "lite").splitlines()
    assert lines[0].split() == [other.hex(), "2", "pictures", "NOT", "INSTALLED"]
    assert lines[1] == f"{LITE.hex()}          1 pictures  lite.safetensors, codes new pictures"
    assert lines[-1].split() == ["no", "weights", "1", "pictures", "graphics"]
    assert await fsck.check(store, delete=True) == 0
    told = f"2 pictures need the weights of model {other.hex()}, which are not installed"
    assert told in capsys.readouterr().out


async def test_an_empty_store_needs_none(store):
    models = await count(store)
    assert models.missing == {}
    lines = described(models, "no such profile").splitlines()
    assert sorted(line.split()[1:] for line in lines[:-1]) == [
        ["0", "pictures", path.name] for path in sorted(installed().values())
    ]


async def test_metrics_and_log_tell_of_them_at_the_start_and_later(store, valkey, caplog, monkeypatch):
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.02)
    metrics, other = Metrics(), read_header(STREAM).model_id.hex()

    def value(name, **labels):
        return metrics.registry.get_sample_value(name, labels)

    for number, stream in enumerate((STREAM, STREAM, INSTALLED, GRAPHIC)):
        await store.put(of(number, stream), stream, ())
    await valkey.stop()
    watching = asyncio.create_task(watch(store, metrics, 0.1 / 3600))
    while "could not be counted" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await valkey.start()
    while value("compass_pictures", model=other) != 2:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    assert value("compass_pictures", model=LITE.hex()) == 1
    assert value("compass_pictures", model="none") == 1
    assert value("compass_pictures_without_weights") == 2
    assert f"2 pictures need the weights of model {other}, which are not installed" in caplog.text
    for number in (0, 1):
        await store.delete(record(number).id)
    while value("compass_pictures_without_weights"):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    assert value("compass_pictures", model=other) is None
    watching.cancel()


async def test_who_never_checks_counts_once(store):
    await watch(store, Metrics(), 0)

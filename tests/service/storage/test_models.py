"""Which weights stored pictures need: counted, and told where they are missing."""

from dataclasses import replace

from model.geometry import Size
from model.installed import installed
from model.stream.container import CodedLayer, Kind, read_header, write, write_graphic
from service.storage import fsck
from service.storage.models import count, described
from tests.service.storage.test_store import STREAM, record

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
    assert described(models, "no such profile").splitlines()[0].endswith("0 pictures  lite.safetensors")

"""What is said of a stored picture."""

from datetime import UTC, datetime

from service.routes.schemas import picture_info
from service.settings import Settings
from service.storage.records import Refinement
from tests.service.fakes import MODEL_ID, FakeLibrary


def test_a_record_as_json():
    record = FakeLibrary(Settings()).add((50, 40), (100, 80), expires=2_000_000.0, average="#010203")
    info = picture_info(record)
    assert (info.id, info.url) == (record.id, f"/images/{record.id}")
    assert (info.width, info.height, info.alpha, info.average) == (100, 80, False, "#010203")
    assert info.model == MODEL_ID.hex()
    assert info.expires == datetime.fromtimestamp(2_000_000, UTC)
    assert [layer.prefix for layer in info.layers] == [entry.end for entry in record.header.layers]
    assert info.layers[-1].prefix == info.bytes == record.header.total
    assert info.srcset == f"{info.url}?width=50 50w, {info.url}?width=100 100w"


def test_alpha_planes_are_part_of_the_bytes():
    record = FakeLibrary(Settings()).add((50, 40), (100, 80), alpha=(7, 11), alpha_crcs=(1, 2))
    info = picture_info(record)
    assert info.alpha
    assert info.bytes == record.header.total + 18
    assert [layer.bytes for layer in info.layers] == [
        entry.length + plane for entry, plane in zip(record.header.layers, (7, 11), strict=True)
    ]


def test_urls_begin_as_the_settings_say():
    record = FakeLibrary(Settings()).add((50, 40))
    info = picture_info(record, "https://img.example.org/")
    assert info.url == f"https://img.example.org/images/{record.id}"
    assert info.srcset.startswith("https://img.example.org/images/")


def test_a_refinement_is_told():
    library = FakeLibrary(Settings())
    assert picture_info(library.add((50, 40))).refined is None
    told = picture_info(library.add((50, 40), data=b"other", refined=Refinement("best", 4321))).refined
    assert told is not None
    assert told.model_dump() == {"effort": "best", "before_bytes": 4321}

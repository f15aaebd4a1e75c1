"""Ids and entity tags change with what they stand for, and with nothing else."""

from dataclasses import replace

from service.messages.jobs import Render
from service.planning.identity import entity_tag, is_picture_id, picture_id

JOB = Render(key="k", stream=b"", layer=1, size=(3, 2), format="webp", quality=80)


def test_picture_id():
    first = picture_id(b"data", b"model-id", 75, (320, 640), None)
    assert is_picture_id(first)
    assert picture_id(b"data", b"model-id", 75, (640, 320, 320), None) == first
    others = {
        picture_id(b"date", b"model-id", 75, (320, 640), None),
        picture_id(b"data", b"model-xx", 75, (320, 640), None),
        picture_id(b"data", b"model-id", 74, (320, 640), None),
        picture_id(b"data", b"model-id", 75, (320,), None),
        picture_id(b"data", b"model-id", 75, (320, 640), 640),
    }
    assert len(others | {first}) == 6


def test_not_picture_ids():
    for text in ("", "a", "A" * 32, "a" * 33, "1" * 32, "a" * 31 + "\n", "a" * 32 + "\n"):
        assert not is_picture_id(text)


def test_entity_tag():
    first = entity_tag(JOB, b"model-id")
    assert entity_tag(replace(JOB, stream=b"prefix", alpha=b"plane"), b"model-id") == first
    changes = [
        {"key": "x"}, {"layer": 0}, {"size": (2, 3)}, {"format": "png"}, {"quality": 81},
        {"crop": (0, 0, 1, 1)}, {"rotation": 90}, {"gray": True}, {"background": "#000000"},
    ]  # fmt: skip
    tags = {entity_tag(replace(JOB, **change), b"model-id") for change in changes}
    assert len(tags | {first, entity_tag(JOB, b"other-id")}) == len(changes) + 2

"""Ids change with what they stand for, and with nothing else."""

from model.stream.ladder import Ladder
from service.planning.identity import is_picture_id, picture_id, upload_digest


def test_picture_id():
    data, date = upload_digest(b"data"), upload_digest(b"date")
    first = picture_id(data, 75, Ladder((320, 640)), None)
    assert first == "pivhx25rgp2goxzbar6me2xlouuowdkh"  # as in every store since 2026-11-26
    assert is_picture_id(first)
    assert picture_id(data, 75, Ladder((640, 320, 320)), None) == first
    others = {
        picture_id(date, 75, Ladder((320, 640)), None),
        picture_id(data, 74, Ladder((320, 640)), None),
        picture_id(data, 75, Ladder((320,)), None),
        picture_id(data, 75, Ladder((320, 640)), 640),
        picture_id(data, 75, Ladder((320, 640), single_below=512), None),
    }
    assert len(others | {first}) == 6


def test_not_picture_ids():
    for text in ("", "a", "A" * 32, "a" * 33, "1" * 32, "a" * 31 + "\n", "a" * 32 + "\n"):
        assert not is_picture_id(text)

"""Facts beside a stream: written, read, checked. What damage of them does is in test_store.py."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.stream.container import MAX_LAYERS, read_header
from service.errors import DamagedStream, NotFound
from service.storage.records import (
    Facts,
    Record,
    Refinement,
    all_keys,
    alpha_key,
    assemble,
    check_alpha,
    facts_key,
    later,
    parse_facts,
    stream_key,
    write_facts,
)
from tests.service.fakes import stream

STREAM = stream((50, 40), (100, 80))
FACTS = Facts(1_000_000.5, source_bytes=9, source_format="PNG", quality=55)
TIMES = st.floats(0, 1e11, allow_nan=False, exclude_max=True)


@given(
    st.builds(
        Facts,
        created=TIMES,
        source_bytes=st.integers(0, 2**40),
        source_format=st.from_regex(r"[A-Za-z0-9]{0,16}", fullmatch=True),
        quality=st.integers(1, 100),
        thumbhash=st.from_regex(r"[A-Za-z0-9+/=]{0,64}", fullmatch=True),
        average=st.from_regex(r"(#[0-9a-f]{6})?", fullmatch=True),
        expires=st.none() | TIMES,
        alpha=st.lists(st.integers(1, 2**32), max_size=3).map(tuple),
        refined=st.none() | st.builds(Refinement, st.sampled_from(["fast", "best"]), st.integers(1, 2**40)),
    )
)
def test_facts_come_back(facts: Facts) -> None:
    assert parse_facts(write_facts(facts).encode()) == facts


@given(st.none() | TIMES, st.none() | TIMES)
def test_the_later_of_two_ends(one: float | None, other: float | None) -> None:
    found = later(one, other)
    assert found == later(other, one)
    assert found is None or (one is not None and other is not None and found == max(one, other))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000,
        write_facts(FACTS).replace("9", "8").encode(),
        write_facts(FACTS).replace('"PNG"', "7").encode(),
        write_facts(FACTS).replace('"quality"', '"quantity"').encode(),
        write_facts(replace(FACTS, alpha=(1, 2), alpha_crcs=(3,))).encode(),
    ],
)  # fmt: skip
def test_what_are_no_facts(text: bytes) -> None:
    with pytest.raises(DamagedStream):
        parse_facts(text)


def test_a_record_is_put_together() -> None:
    text = write_facts(FACTS).encode()
    record = assemble("a" * 32, text, STREAM[:100])
    assert record == Record("a" * 32, read_header(STREAM), FACTS)
    assert record.bytes == len(STREAM)
    assert record.index_entry == "00001000000500:" + "a" * 32
    with pytest.raises(NotFound):
        assemble("a" * 32, b"", b"")
    with pytest.raises(NotFound):
        assemble("a" * 32, write_facts(replace(FACTS, expires=time.time() - 1)).encode(), STREAM[:100])
    for facts, start in ((text, b""), (b"", STREAM), (text, STREAM[:20])):
        with pytest.raises(DamagedStream):
            assemble("a" * 32, facts, start)


def test_alpha_planes_are_checked_by_length_and_checksum() -> None:
    record = Record("a", read_header(STREAM), replace(FACTS, alpha=(5, 5), alpha_crcs=(0x3610A686, 0)))
    check_alpha(record, 0, b"hello")
    for plane in (b"hell", b"jello"):
        with pytest.raises(DamagedStream):
            check_alpha(record, 0, plane)


def test_all_keys_of_a_picture_lie_together() -> None:
    keys = all_keys("abc")
    assert len(set(keys)) == 2 + MAX_LAYERS
    assert {stream_key("abc"), facts_key("abc"), alpha_key("abc", 0)} <= set(keys)
    assert all(key.startswith("{abc}:") for key in keys)


def test_facts_of_what_nobody_refined_are_as_they_were_before_anybody_could():
    assert "refined" not in write_facts(FACTS)
    wrong = write_facts(replace(FACTS, refined=Refinement("fast", 9))).replace("fast", "none")
    with pytest.raises(DamagedStream):
        parse_facts(wrong.encode())

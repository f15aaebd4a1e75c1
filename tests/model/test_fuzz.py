"""No sequence of bytes does more than raise a StreamError; make fuzz tries many more."""

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import StreamError
from model.stream.container import verify
from tests.model.mutations import mutate, repair, whole_streams


@pytest.fixture(scope="module")
def streams(tiny_codec):
    return whole_streams(tiny_codec)


def outcome(codec, data, layer=None):
    """What becomes of a stream; any other exception fails the test."""
    try:
        pixels = codec.decode(data, layer)
    except StreamError as error:
        return type(error).__name__
    assert pixels.dtype == np.uint8
    return "decoded"


@given(st.randoms(use_true_random=False), st.sampled_from([None, 0, 1, 2]))
@settings(deadline=None, max_examples=200)
def test_mutated_streams(tiny_codec, streams, random, layer):
    outcome(tiny_codec, mutate(random, streams), layer)


@given(st.binary(max_size=300))
@pytest.mark.parametrize("skipped", [0, 3])
@settings(deadline=None, max_examples=100)
def test_random_substreams(tiny_codec, streams, skipped, data):
    """Random bytes in place of the hyper-latents' and the tiles', with CRCs that fit."""
    stream = bytearray(streams[1])
    start = 16 + 13 + 4 + 2 * 7 + skipped
    stream[start : start + len(data)] = data[: len(stream) - start]
    outcome(tiny_codec, repair(bytes(stream)))


def test_every_cut(tiny_codec, streams):
    for size in range(len(streams[2])):
        assert outcome(tiny_codec, streams[2][:size]) != "decoded"


def test_every_byte_changed(tiny_codec, streams):
    """Without repair nothing changed is decoded."""
    for at in range(len(streams[2])):
        changed = bytearray(streams[2])
        changed[at] ^= 0x55
        assert outcome(tiny_codec, bytes(changed)) != "decoded"


def test_repaired_streams_are_whole(streams):
    for stream in streams:
        blanked = bytearray(stream)
        blanked[16 + 9 : 16 + 13] = b"\0\0\0\0"
        assert repair(bytes(blanked)) == stream
        verify(repair(stream))


@pytest.mark.parametrize("graphic", [-2, -1])
def test_graphics_whose_files_lie(tiny_codec, streams, graphic):
    """Bytes of the file changed, with checksums that fit again."""
    seen = Counter()
    for seed in range(300):
        random, stream = Random(seed), bytearray(streams[graphic])
        for _ in range(random.randint(1, 3)):
            stream[random.randrange(33, len(stream))] = random.randrange(256)
        seen[outcome(tiny_codec, repair(bytes(stream)))] += 1
    assert seen.keys() == {"decoded", "InvalidStream"}


def test_the_mutations_reach_every_error(tiny_codec, streams):
    """Fixed seeds: the deep errors come up, and some mutated streams decode."""
    seen = Counter(outcome(tiny_codec, mutate(Random(seed), streams)) for seed in range(400))
    assert {
        "NotAStream", "UnsupportedVersion", "UnknownModel", "TruncatedStream", "ChecksumMismatch",
        "InvalidStream", "decoded",
    } <= seen.keys()  # fmt: skip

"""The entropy coder against a slow decoder written from docs/bitstream.md, and against any bytes."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import EncodeError, InvalidStream, StreamError, TruncatedStream, WeightsError
from model.stream.entropy import (
    MAX_SYMBOL,
    MIN_SYMBOL,
    TOTAL,
    Tables,
    decode,
    decode_all,
    encode,
)
from model.training.tables import gaussian_tables, quantise_pmf

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))


class SlowDecoder:
    """The decoder of docs/bitstream.md in plain integers; raises ValueError for a bad string."""

    def __init__(self, data: bytes) -> None:
        if not data:
            self.state, self.rest = 65536, b""
            return
        head = 4 if len(data) % 2 == 0 else 3
        self.state = int.from_bytes(data[:head], "little")
        self.rest = data[head:]
        if not 2 ** (8 * head - 8) <= self.state:
            raise ValueError("head")

    def refill(self) -> None:
        if self.state < 65536:
            if len(self.rest) < 2:
                raise ValueError("truncated")
            self.state = self.state * 65536 + self.rest[0] + 256 * self.rest[1]
            self.rest = self.rest[2:]

    def bits(self, count: int) -> int:
        value = self.state % 2**count
        self.state //= 2**count
        self.refill()
        return value

    def symbol(self, frequencies: list[int], offset: int) -> int:
        slot, entry, below = self.state % TOTAL, 0, 0
        while slot >= below + frequencies[entry]:
            below += frequencies[entry]
            entry += 1
        self.state = frequencies[entry] * (self.state // TOTAL) + slot - below
        self.refill()
        escape = len(frequencies) - 1
        if entry < escape:
            return offset + entry
        sign_and_length = self.bits(5)
        length = sign_and_length // 2
        excess = 2**length + self.bits(length)
        value = offset - excess if sign_and_length % 2 else offset + escape - 1 + excess
        if not -32768 <= value <= 32767:
            raise ValueError("range")
        return value

    def decode(self, indexes: np.ndarray, tables: Tables) -> list[int]:
        ends = np.cumsum(tables.lengths, dtype=int)
        answer = []
        for t in map(int, indexes):
            frequencies = tables.frequencies[ends[t] - int(tables.lengths[t]) : ends[t]].tolist()
            answer.append(0 if t < tables.skip else self.symbol(frequencies, int(tables.offsets[t])))
        return answer

    def finish(self) -> None:
        if self.rest or self.state != 65536:
            raise ValueError("end")


@st.composite
def some_tables(draw: st.DrawFn) -> Tables:
    count = draw(st.integers(1, 6))
    frequencies, offsets = [], []
    for _ in range(count):
        weights = draw(st.lists(st.integers(0, 1000), min_size=1, max_size=12))
        pmf = np.array(weights, float) / (sum(weights) + draw(st.integers(1, 1000)))
        frequencies.append(quantise_pmf(pmf))
        edge = st.sampled_from([MIN_SYMBOL, MAX_SYMBOL - len(pmf)])
        offsets.append(draw(st.integers(-20, 20) | edge))
    return Tables.from_frequencies(frequencies, offsets, draw(st.integers(0, count)))


class Coded(NamedTuple):
    """What :func:`encode` takes."""

    symbols: np.ndarray
    indexes: np.ndarray
    tables: Tables


@st.composite
def anything(draw: st.DrawFn) -> Coded:
    tables = draw(some_tables())
    indexes = np.array(draw(st.lists(st.integers(0, len(tables) - 1), max_size=100)), np.uint8)
    symbol = st.integers(-15, 15) | st.integers(MIN_SYMBOL, MAX_SYMBOL)
    values = draw(st.lists(symbol, min_size=len(indexes), max_size=len(indexes)))
    return Coded(np.where(indexes < tables.skip, 0, np.array(values, np.int16)), indexes, tables)


def residual(count: int, seed: int = 1) -> Coded:
    """Latents as in a residual layer: mostly skipped, some large, a few far outside their table."""
    random = np.random.default_rng(seed)
    tables = gaussian_tables(SCALES, skip=2)
    scale = np.where(random.random(count) < 0.7, 0.1, np.exp(random.uniform(np.log(0.13), np.log(8), count)))
    indexes = np.searchsorted(SCALES, scale).astype(np.uint8)
    symbols = np.round(random.normal(size=count) * SCALES[indexes]).astype(np.int16)
    symbols[random.random(count) < 0.001] *= 1000
    symbols[indexes < tables.skip] = 0
    return Coded(symbols, indexes, tables)


@settings(max_examples=250, deadline=None)
@given(anything())
def test_symbols_come_back_from_both_decoders(coded: Coded) -> None:
    data = encode(*coded)
    slow = SlowDecoder(data)
    assert decode(data, coded.indexes, coded.tables).tolist() == coded.symbols.tolist()
    assert slow.decode(coded.indexes, coded.tables) == coded.symbols.tolist()
    slow.finish()


@settings(max_examples=250, deadline=None)
@given(anything(), st.data())
def test_any_bytes_decode_as_the_slow_decoder_says_or_raise(coded: Coded, data: st.DataObject) -> None:
    clean = encode(*coded)
    where = st.integers(0, max(0, len(clean) - 1))
    mutated = bytearray(clean)
    for at in data.draw(st.lists(where, max_size=3)):
        mutated[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
    dirty = data.draw(st.sampled_from([bytes(mutated), clean[: data.draw(where)], data.draw(st.binary())]))
    try:
        slow = SlowDecoder(dirty)
        expected = slow.decode(coded.indexes, coded.tables)
        slow.finish()
    except ValueError:
        with pytest.raises(StreamError):
            decode(dirty, coded.indexes, coded.tables)
    else:
        assert decode(dirty, coded.indexes, coded.tables).tolist() == expected


def test_many_mutations_of_a_large_tile_decode_or_raise() -> None:
    coded = residual(20_000)
    clean = encode(*coded)
    random = np.random.default_rng(7)
    outcomes = {True: 0, False: 0}
    for _ in range(2000):
        dirty = bytearray(clean[: random.integers(0, len(clean) + 1)] if random.random() < 0.3 else clean)
        for at in random.integers(0, max(1, len(dirty)), random.integers(1, 5)):
            dirty[at : at + 1] = random.bytes(1)
        try:
            symbols = decode(bytes(dirty), coded.indexes, coded.tables)
        except StreamError:
            outcomes[False] += 1
        else:
            outcomes[True] += 1
            assert symbols.shape == coded.symbols.shape
    # The closing state has 16 bits: a change that is one passes it once in tens of thousands of times.
    assert outcomes[True] < 30
    assert outcomes[False] > 1900


def test_the_bytes_of_a_string_never_change() -> None:
    """A golden string, worked out by hand from docs/bitstream.md."""
    tables = Tables.from_frequencies([[TOTAL // 2, TOTAL // 4, TOTAL // 4]], [-1])
    indexes = np.zeros(3, np.uint8)
    # Backwards: 65536 -> symbol 0 (slots from 8192, 4096 of them): 65536 // 4096 * 16384 + 8192.
    state = 16 * 16384 + 8192
    # -> escape (slots from 12288) for -3 = -1 - 2: excess 2 = 2**1 + 0, length 1, negative.
    state = state * 2 + 0
    state = state * 32 + 1 * 2 + 1
    state = state // 4096 * 16384 + state % 4096 + 12288
    # -> symbol -1 (slots from 0, 8192 of them).
    state = state // 8192 * 16384 + state % 8192
    data = encode(np.array([-1, -3, 0]), indexes, tables)
    assert data == state.to_bytes(4, "little")
    assert decode(data, indexes, tables).tolist() == [-1, -3, 0]


def test_nothing_to_code_takes_no_bytes() -> None:
    tables = gaussian_tables(SCALES, skip=3)
    for count in (0, 50):
        indexes = np.full(count, 2, np.uint8)
        assert encode(np.zeros(count, np.int32), indexes, tables) == b""
        assert decode(b"", indexes, tables).tolist() == [0] * count


def test_the_size_is_within_a_thousandth_of_the_entropy() -> None:
    random = np.random.default_rng(3)
    tables = gaussian_tables(SCALES)
    ends = np.cumsum(tables.lengths, dtype=int)
    indexes = random.integers(0, 40, 50_000).astype(np.uint8)
    symbols = np.zeros(len(indexes), np.int32)
    bits = 0.0
    for t in range(40):
        frequencies = tables.frequencies[ends[t] - tables.lengths[t] : ends[t] - 1] / TOTAL
        here = indexes == t
        drawn = random.choice(len(frequencies), here.sum(), p=frequencies / frequencies.sum())
        symbols[here] = drawn + tables.offsets[t]
        bits -= np.log2(frequencies[drawn]).sum()
    assert bits / 8 <= len(encode(symbols, indexes, tables)) <= 1.001 * bits / 8 + 2


@pytest.mark.parametrize("symbol", [0, 1, -1, 3, -40, 40, 400, -400])
def test_code_lengths_are_what_symbols_take(symbol: int) -> None:
    """Those of an escape too: the same symbol a thousand times over."""
    tables = gaussian_tables(SCALES[3:])
    lengths = tables.code_lengths(reach=400)[:, 400 + symbol]
    for table in range(0, len(tables), 5):
        indexes = np.full(1000, table, np.uint8)
        taken = 8 * len(encode(np.full(1000, symbol), indexes, tables))
        assert abs(taken - 1000 * lengths[table]) <= 32 + 0.01 * taken


def test_tables_of_other_weights_are_noticed_at_the_end() -> None:
    coded = residual(5000)
    other = coded.indexes.copy()
    other[2500] = 40 if other[2500] != 40 else 41
    with pytest.raises(StreamError):
        decode(encode(*coded), other, coded.tables)


def test_truncated_and_lengthened_strings_raise() -> None:
    coded = residual(5000)
    clean = encode(*coded)
    with pytest.raises(TruncatedStream):
        decode(clean[:-2], coded.indexes, coded.tables)
    with pytest.raises(InvalidStream, match="last symbol"):
        decode(clean + b"\0\0", coded.indexes, coded.tables)
    for data in (b"\1", b"\1\2\3\0"):
        with pytest.raises(InvalidStream, match="not a coded string"):
            decode(data, coded.indexes, coded.tables)


def test_strings_of_any_shape_decode_together_as_alone() -> None:
    tiles = [residual(count, seed) for seed, count in enumerate((1200, 0, 1, 600))]
    strings = [encode(*tile) for tile in tiles]
    shapes = [(3, 20, 20), (0,), (1, 1), (2, 300)]
    indexes = [tile.indexes.reshape(shape) for tile, shape in zip(tiles, shapes, strict=True)]
    for tile, shape, part in zip(tiles, shapes, decode_all(strings, indexes, tiles[0].tables), strict=True):
        np.testing.assert_array_equal(part, tile.symbols.reshape(shape))


def test_no_string_lends_its_neighbour_a_word() -> None:
    """What is wrong with one string is noticed, though the bytes go on."""
    tile = residual(2000)
    clean = encode(*tile)
    for place in range(3):
        for damaged, error in ((clean[:-2], TruncatedStream), (clean + b"\0\0", InvalidStream)):
            strings = [clean] * 3
            strings[place] = damaged
            with pytest.raises(error):
                decode_all(strings, [tile.indexes] * 3, tile.tables)


def test_an_escape_beyond_16_bits_raises() -> None:
    tables = Tables.from_frequencies([[TOTAL - 1, 1]], [MAX_SYMBOL - 1])
    state = 2**16 << 5 | 15 << 1  # positive, 15 more bits
    word, state = state & 0xFFFF, state >> 16
    state = state * TOTAL + TOTAL - 1  # the escape
    data = state.to_bytes(3, "little") + word.to_bytes(2, "little") + bytes(2)
    with pytest.raises(InvalidStream, match="16 bits"):
        decode(data, np.zeros(1, np.uint8), tables)


def test_threads_get_what_one_thread_gets() -> None:
    tiles = [residual(30_000, seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(lambda tile: decode(encode(*tile), tile.indexes, tile.tables), tiles))
    for tile, symbols in zip(tiles, decoded, strict=True):
        np.testing.assert_array_equal(symbols, tile.symbols)


def test_read_only_and_strided_arrays_are_taken() -> None:
    tables = gaussian_tables([1.0, 2.0])
    symbols, indexes = np.arange(-4, 4, dtype=np.int32), np.frombuffer(bytes(8), np.uint8)
    symbols.flags.writeable = False
    for step in (1, 2):
        data = encode(symbols[::step], indexes[::step], tables)
        assert decode(data, indexes[::step], tables).tolist() == symbols[::step].tolist()


def test_what_cannot_be_coded_is_refused() -> None:
    tables = gaussian_tables([0.1, 1.0], skip=1)
    index = np.array([1, 1], np.uint8)
    with pytest.raises(EncodeError, match="16 bits"):
        encode(np.array([0, 32768]), index, tables)
    with pytest.raises(EncodeError, match="skipped"):
        encode(np.array([0, 1]), index - 1, tables)
    with pytest.raises(ValueError, match="for"):
        encode(np.array([0, 1, 2]), index, tables)
    with pytest.raises(ValueError, match="float64 symbols"):
        encode(np.array([0.0, 1.0]), index, tables)
    with pytest.raises(ValueError, match="table index 2 of 2"):
        encode(np.array([0, 1]), index + 1, tables)
    with pytest.raises(ValueError, match="vector"):
        decode(b"", index.astype(np.int64), tables)


def test_tables_survive_a_weight_file() -> None:
    tables = gaussian_tables(SCALES, skip=4)
    again = Tables.from_arrays(tables.to_arrays())
    for name, array in tables.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], array)
    assert again.skip == 4
    assert len(again) == 64


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frequencies", np.array([TOTAL - 1, 2, TOTAL // 2, TOTAL // 2], np.uint16)),
        ("frequencies", np.array([TOTAL, 0, TOTAL // 2, TOTAL // 2], np.uint16)),
        ("frequencies", np.array([TOTAL - 1, 1, TOTAL], np.uint16)),
        ("frequencies", np.array([TOTAL - 1, 1, TOTAL // 2, TOTAL // 2], np.int32)),
        ("frequencies", np.array([[TOTAL - 1, 1], [TOTAL // 2, TOTAL // 2]], np.uint16)),
        ("lengths", np.array([3, 1], np.uint16)),
        ("lengths", np.array([4], np.uint16)),
        ("lengths", np.array([], np.uint16)),
        ("offsets", np.array([0, MAX_SYMBOL], np.int16)),
        ("skip", np.array([3], np.uint16)),
        ("skip", np.array([1, 1], np.uint16)),
        ("skip", None),
    ],
)
def test_damaged_tables_are_refused(name: str, value: np.ndarray | None) -> None:
    frequencies = [[TOTAL - 1, 1], [TOTAL // 2, TOTAL // 2]]
    arrays = Tables.from_frequencies(frequencies, [0, -1], skip=1).to_arrays()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    with pytest.raises(WeightsError):
        Tables.from_arrays(arrays)

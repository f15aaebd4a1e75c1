"""The entropy coder: integers to bytes and back, by one 32-bit rANS state and integer tables.

A substream is one byte string that stands for a vector of integers, each with a table of its own::

    data = encode(symbols, indexes, tables)
    symbols = decode(data, indexes, tables)

Everything from the weight file's integer tables onwards is integer arithmetic, so a byte string
decodes to the same symbols on every machine. No byte string makes the decoder read out of bounds,
loop for ever or use more memory than its answer. The kernels release the GIL.
``docs/bitstream.md``, "Entropy coding", describes the format completely.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Self

import numpy as np
from numba import int16, int64, njit, types, uint8, uint16, uint32
from numpy.typing import ArrayLike, NDArray

from model.compiled import compiled, read
from model.errors import EncodeError, InvalidStream, TruncatedStream, WeightsError

PRECISION = 14
TOTAL = 2**PRECISION
"""The frequencies of every table add up to this."""
MIN_SYMBOL, MAX_SYMBOL = -(2**15), 2**15 - 1
"""Symbols are 16-bit integers: the coder takes and gives no others."""
MAX_TABLES = 2**8
"""An index into the tables is one byte."""

_INITIAL_STATE = 2**16  # also the smallest state between two symbols
_GUESS_BITS = 7  # the decoder's first guess: an entry for each of 2**7 slices of a table
_FREQUENCY, _BELOW, _SYMBOL, _IS_ESCAPE = range(4)  # what the kernels know of an entry
_BLOCK = 2048  # positions gathered before they are decoded: 8 KiB, they stay in the L1 cache
_MAX_WORDS_PER_SYMBOL = 3  # one for the entry or escape, two for the escape's bits

Integers = NDArray[Any]


class Tables:
    """Integer frequency tables, the form in which probabilities lie in a weight file.

    Table ``t`` has ``lengths[t]`` entries: the symbols ``offsets[t]``, ``offsets[t] + 1``, ... and
    last the escape that stands for every other symbol. ``frequencies`` holds the entries of all
    tables one after another, each at least 1, each table adding up to ``2**PRECISION``.
    Symbols that belong to the first ``skip`` tables are not coded at all: they are 0.

    Raises WeightsError if that does not hold.
    """

    def __init__(
        self,
        frequencies: NDArray[np.uint16],
        lengths: NDArray[np.uint16],
        offsets: NDArray[np.int16],
        skip: int = 0,
    ) -> None:
        _check_vector("frequencies", frequencies, np.uint16)
        _check_vector("lengths", lengths, np.uint16)
        _check_vector("offsets", offsets, np.int16)
        if not (len(lengths) == len(offsets) and 1 <= len(lengths) <= MAX_TABLES):
            raise WeightsError(f"entropy tables: {len(lengths)} lengths, {len(offsets)} offsets")
        if not 0 <= skip <= len(lengths):
            raise WeightsError(f"entropy tables: {skip} of {len(lengths)} tables are skipped")
        sizes, values = lengths.astype(np.int64), frequencies.astype(np.int64)
        if sizes.min() < 2 or sizes.sum() != len(frequencies):
            raise WeightsError("entropy tables: lengths do not fit the frequencies")
        starts = np.cumsum(sizes) - sizes
        if values.min() < 1 or (np.add.reduceat(values, starts) != TOTAL).any():
            raise WeightsError(f"entropy tables: frequencies below 1 or not adding up to {TOTAL}")
        if (offsets + sizes - 1 > MAX_SYMBOL).any():
            raise WeightsError("entropy tables: symbols beyond 16 bits")
        self.frequencies, self.lengths, self.offsets, self.skip = frequencies, lengths, offsets, skip

        # What the kernels read: all about an entry in 8 bytes, and a first guess for their search.
        table = np.repeat(np.arange(len(sizes)), sizes)
        below = np.cumsum(values) - values  # frequencies of all entries before this one, all tables
        self._starts = starts
        self._escapes = starts + sizes - 1
        self._offsets = offsets.astype(np.int64)
        self._entries = np.zeros((len(values), 4), np.uint16)
        self._entries[:, _FREQUENCY] = values
        self._entries[:, _BELOW] = below - table * TOTAL
        self._entries[:, _SYMBOL] = np.arange(len(table)) + (self._offsets - starts)[table]
        self._entries[self._escapes, _IS_ESCAPE] = 1
        slices = np.arange(len(sizes) << _GUESS_BITS) << (PRECISION - _GUESS_BITS)
        self._guesses = (np.searchsorted(below, slices, side="right") - 1).astype(np.uint32)

    def __len__(self) -> int:
        return len(self.lengths)

    def code_lengths(self, reach: int = 512) -> NDArray[np.float32]:
        """The bits that each symbol from -reach to reach takes with each table, (tables, 2 reach + 1).

        Those of skipped tables are what they would take.
        """
        symbols = np.arange(-reach, reach + 1)
        answer = np.empty((len(self), len(symbols)), np.float32)
        places = zip(answer, self._starts, self._escapes, self._offsets, strict=True)
        for row, start, escape, offset in places:
            bits = PRECISION - np.log2(self.frequencies[start : escape + 1])
            entry = start + symbols - offset
            excess = np.where(entry < start, offset - symbols, entry - escape + 1)
            escaped = bits[-1] + 5 + np.floor(np.log2(np.maximum(excess, 1)))
            inside = (start <= entry) & (entry < escape)
            row[:] = np.where(inside, bits[np.clip(entry - start, 0, escape - start)], escaped)
        return answer

    @classmethod
    def from_frequencies(cls, frequencies: Sequence[ArrayLike], offsets: ArrayLike, skip: int = 0) -> Self:
        """Tables from one vector of frequencies (the escape's last) and one smallest symbol each."""
        vectors = [np.asarray(vector, np.uint16) for vector in frequencies]
        lengths = np.array([len(vector) for vector in vectors], np.uint16)
        return cls(np.concatenate(vectors), lengths, np.asarray(offsets, np.int16), skip)

    def to_arrays(self) -> dict[str, Integers]:
        """The tables as arrays for a weight file; :meth:`from_arrays` reads them."""
        return {
            "frequencies": self.frequencies,
            "lengths": self.lengths,
            "offsets": self.offsets,
            "skip": np.array([self.skip], np.uint16),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Integers]) -> Self:
        """Tables from the arrays of a weight file. Raises WeightsError unless they are sound."""
        names = {"frequencies", "lengths", "offsets", "skip"}
        if set(arrays) != names:
            raise WeightsError(f"entropy tables: arrays {sorted(arrays)} instead of {sorted(names)}")
        skip = np.asarray(arrays["skip"])
        if skip.shape != (1,) or skip.dtype != np.uint16:
            raise WeightsError("entropy tables: skip is not one number of uint16")
        return cls(arrays["frequencies"], arrays["lengths"], arrays["offsets"], int(skip[0]))


def _check_vector(name: str, array: object, dtype: type[np.generic]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
        raise WeightsError(f"entropy tables: {name} is not a vector of {np.dtype(dtype)}")


def encode(symbols: Integers, indexes: Integers, tables: Tables) -> bytes:
    """Code symbols (16-bit range), each with the table of its index, both one-dimensional integers.

    The answer is empty if no symbol needs to be coded. Raises EncodeError if a symbol lies outside 16
    bits, or is not 0 though its table is skipped, and ValueError for other arrays.
    """
    symbols, indexes = np.ascontiguousarray(symbols), _table_indexes(indexes, tables)
    if symbols.shape != indexes.shape or symbols.dtype.kind not in "iu":
        raise ValueError(f"{symbols.dtype} symbols {symbols.shape} for {indexes.shape} indexes")
    if len(symbols) and not MIN_SYMBOL <= symbols.min() <= symbols.max() <= MAX_SYMBOL:
        raise EncodeError(f"symbols from {symbols.min()} to {symbols.max()} exceed 16 bits")
    words = np.empty(_MAX_WORDS_PER_SYMBOL * len(symbols), np.uint16)
    position, state = _encode(
        symbols.astype(np.int16, copy=False), indexes, tables.skip, tables._starts, tables._escapes,
        tables._offsets, tables._entries, words,
    )  # fmt: skip
    if position < 0:
        raise EncodeError("a symbol whose table is skipped is not 0")
    coded = words[position:].astype("<u2", copy=False).tobytes()
    if state == _INITIAL_STATE and not coded:
        return b""
    return int(state).to_bytes((int(state).bit_length() + 7) // 8, "little") + coded


def decode(data: bytes, indexes: Integers, tables: Tables) -> NDArray[np.int16]:
    """The symbols that ``data`` stands for, one for each of the table ``indexes``, in their shape.

    Raises TruncatedStream if the bytes end too early; InvalidStream if they cannot be a coded string,
    if a symbol exceeds 16 bits, or if the end is not where the encoder began: the bytes, or the
    tables, are not the encoder's; ValueError for indexes that do not fit ``tables``.
    """
    return decode_all([data], [indexes], tables)[0]


def decode_all(
    strings: Sequence[bytes], indexes: Sequence[Integers], tables: Tables
) -> list[NDArray[np.int16]]:
    """The symbols of each string, as :func:`decode` gives them, without the GIL from first to last.

    Raises what decode raises, for the first string that is not sound.
    """
    heads = [4 - len(data) % 2 if data else 0 for data in strings]
    states = [int.from_bytes(data[:head], "little") for data, head in zip(strings, heads, strict=True)]
    for data, head, state in zip(strings, heads, states, strict=True):
        if len(data) < head or head != (state.bit_length() + 7) // 8:
            raise InvalidStream("entropy coding: not a coded string")
    padding = b"\0\0"  # the kernel may look one word ahead
    bodies = [data[head:] for data, head in zip(strings, heads, strict=True)]
    words = np.frombuffer(b"".join([*bodies, padding]), "<u2").astype(np.uint16, copy=False)
    flat = _table_indexes(np.concatenate([array.ravel() for array in indexes]), tables)
    symbols = np.empty(len(flat), np.int16)
    ends = list(accumulate(array.size for array in indexes))
    word_ends = list(accumulate(len(body) // 2 for body in bodies))
    fault, _ = _decode_all(
        flat, np.array(ends), tables.skip, tables._offsets, tables._entries, tables._guesses, words,
        np.array(word_ends), np.array([state or _INITIAL_STATE for state in states], np.uint32), symbols,
    )  # fmt: skip
    if fault == _TOO_SHORT:
        raise TruncatedStream("entropy coding: the bytes end before the last symbol")
    if fault == _OUT_OF_RANGE:
        raise InvalidStream("entropy coding: a symbol exceeds 16 bits")
    if fault == _TOO_LONG:
        raise InvalidStream("entropy coding: the bytes do not end with the last symbol")
    parts = zip(pairwise([0, *ends]), indexes, strict=True)
    return [symbols[start:end].reshape(array.shape) for (start, end), array in parts]


def _table_indexes(indexes: Integers, tables: Tables) -> NDArray[np.uint8]:
    if indexes.ndim != 1 or indexes.dtype != np.uint8:
        raise ValueError(f"table indexes are a vector of uint8, not {indexes.dtype} {indexes.shape}")
    if len(indexes) and indexes.max() >= len(tables):
        raise ValueError(f"table index {indexes.max()} of {len(tables)} tables")
    return np.ascontiguousarray(indexes)


_TOO_SHORT, _OUT_OF_RANGE, _TOO_LONG, _SKIPPED_NOT_ZERO = -1, -2, -3, -4
_PAIR = types.UniTuple(int64, 2)


@njit(inline="always")
def _spill(x, limit, words, position):  # type: ignore[no-untyped-def]
    """Move the state's low word to the output if the next step would lift the state over 32 bits."""
    if x >= limit:
        position -= 1
        words[position] = x & 0xFFFF
        x >>= 16
    return x, position


@compiled(_PAIR(
    read(int16), read(uint8), int64, read(int64), read(int64), read(int64), read(uint16, 2), uint16[::1],
))  # fmt: skip
def _encode(symbols, indexes, skip, starts, escapes, offsets, entries, words):  # type: ignore[no-untyped-def]
    """Code backwards into the end of ``words``: (position of the first word, state)."""
    x = np.int64(_INITIAL_STATE)
    position = len(words)
    for i in range(len(symbols) - 1, -1, -1):
        t = indexes[i]
        symbol = np.int64(symbols[i])
        if t < skip:
            if symbol != 0:
                return _SKIPPED_NOT_ZERO, 0
            continue
        entry = starts[t] + symbol - offsets[t]
        if entry < starts[t] or entry >= escapes[t]:
            negative = np.int64(entry < starts[t])
            excess = offsets[t] - symbol if negative else entry - escapes[t] + 1  # 1 ... 2**16 - 1
            bits = np.int64(0)
            while excess >> (bits + 1):
                bits += 1
            x, position = _spill(x, 1 << (32 - bits), words, position)
            x = x << bits | (excess - (1 << bits))
            x, position = _spill(x, 1 << 27, words, position)
            x = x << 5 | bits << 1 | negative
            entry = escapes[t]
        frequency = np.int64(entries[entry, _FREQUENCY])
        x, position = _spill(x, frequency << (32 - PRECISION), words, position)
        quotient = np.int64(np.uint32(x) // np.uint32(frequency))
        x = (quotient << PRECISION) + (x - quotient * frequency) + np.int64(entries[entry, _BELOW])
    return position, x


@njit(inline="always")
def _refill(x, words, position):  # type: ignore[no-untyped-def]
    """Take a word into the state where it fell below 2**16; without a branch: it would be mispredicted."""
    low = x < np.uint32(_INITIAL_STATE)
    filled = np.uint32(x << np.uint32(16) | np.uint32(words[position]))
    return (filled if low else np.uint32(x)), position + np.uint64(low)


@njit
def _decode(indexes, skip, offsets, entries, guesses, words, state, symbols):  # type: ignore[no-untyped-def]
    """Decode into ``symbols``: (position of the next word or an error code, state).

    One word of padding follows the last of ``words``: a look ahead may touch it, but a position
    beyond it is an error. Places are unsigned, else numba would test each for being negative.
    """
    x = np.uint32(state)
    position = np.uint64(0)
    size = np.uint64(len(indexes))
    end_of_words = np.uint64(len(words) - 1)
    places = np.empty(_BLOCK, np.uint32)
    done = np.uint64(0)
    while done < size:
        # Gather the places of coded symbols without a branch, then decode only those.
        count = np.uint64(0)
        block_end = min(size, done + np.uint64(_BLOCK))
        while done < block_end:
            places[count] = done
            symbols[done] = 0
            count += np.uint64(indexes[done] >= skip)
            done += np.uint64(1)
        for j in range(count):
            place = np.uint64(places[j])
            table = np.uint64(indexes[place])
            slot = x & np.uint32(TOTAL - 1)
            guess = table << np.uint64(_GUESS_BITS) | np.uint64(slot >> np.uint32(PRECISION - _GUESS_BITS))
            entry = np.uint64(guesses[guess])
            frequency = np.uint32(entries[entry, _FREQUENCY])
            slot -= np.uint32(entries[entry, _BELOW])
            while slot >= frequency:
                slot -= frequency
                entry += np.uint64(1)
                frequency = np.uint32(entries[entry, _FREQUENCY])
            x, position = _refill(frequency * (x >> np.uint32(PRECISION)) + slot, words, position)
            symbol = np.int64(np.int16(entries[entry, _SYMBOL]))
            if entries[entry, _IS_ESCAPE]:
                if position > end_of_words:
                    return _TOO_SHORT, 0
                negative = x & np.uint32(1)
                bits = np.int64(x >> np.uint32(1) & np.uint32(15))
                x, position = _refill(x >> np.uint32(5), words, position)
                if position > end_of_words:
                    return _TOO_SHORT, 0
                excess = np.int64(1) << bits | np.int64(x) & ((np.int64(1) << bits) - 1)
                x, position = _refill(x >> np.uint32(bits), words, position)
                symbol = offsets[table] - excess if negative else symbol - 1 + excess
                if symbol < MIN_SYMBOL or symbol > MAX_SYMBOL:
                    return _OUT_OF_RANGE, 0
            if position > end_of_words:
                return _TOO_SHORT, 0
            symbols[place] = symbol
    return np.int64(position), np.int64(x)


@compiled(_PAIR(
    read(uint8), read(int64), int64, read(int64), read(uint16, 2), read(uint32), read(uint16),
    read(int64), read(uint32), int16[::1],
))  # fmt: skip
def _decode_all(indexes, ends, skip, offsets, entries, guesses, words, word_ends, states, symbols):  # type: ignore[no-untyped-def]
    """Decode string after string: (0 or an error code, number of the string)."""
    first, first_word = np.int64(0), np.int64(0)
    for k in range(len(ends)):
        position, state = _decode(
            indexes[first : ends[k]], skip, offsets, entries, guesses, words[first_word : word_ends[k] + 1],
            states[k], symbols[first : ends[k]],
        )  # fmt: skip
        if position < 0:
            return position, k
        if position != word_ends[k] - first_word or state != _INITIAL_STATE:
            return _TOO_LONG, k
        first, first_word = ends[k], word_ends[k]
    return 0, len(ends)

"""The entropy coder: integers to bytes and back, by one 32-bit rANS state and integer tables.

A tile is one byte string that holds several *parts* one after another (hyper-latents, latents).
The tables of a later part may depend on the symbols of an earlier one, so the decoder is a small
machine that is asked for part after part::

    data = encode([Part(z, channels, hyper_tables), Part(y, scale_indexes, latent_tables)])

    decoder = Decoder(data)
    z = decoder.decode(channels, hyper_tables)
    y = decoder.decode(scale_indexes_from(z), latent_tables)
    decoder.finish()

Everything from the weight file's integer tables onwards is integer arithmetic, so a byte string
decodes to the same symbols on every machine. No byte string makes the decoder read out of bounds,
loop without end or use more memory than its answer. The kernels release the GIL.
``docs/bitstream.md``, "Entropy coding", describes the format completely.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from model.errors import EncodeError, InvalidStream, TruncatedStream, WeightsError

PRECISION = 14
"""The frequencies of every table add up to ``2**PRECISION``."""
MIN_SYMBOL, MAX_SYMBOL = -(2**15), 2**15 - 1
"""Symbols are 16-bit integers: the coder takes and gives no others."""
MAX_TABLES = 2**16

_TOTAL = 2**PRECISION
_INITIAL_STATE = 2**16  # also the smallest state between two symbols
_BUCKET_BITS = 8  # the decoder's first guess: an entry for each of 2**8 slices of a table
_BLOCK = 2048  # positions gathered before they are decoded: 8 KiB, they stay in the L1 cache
_MAX_WORDS_PER_SYMBOL = 3  # one for the entry or escape, two for the escape's bits

Integers = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Tables:
    """Integer frequency tables, the form in which probabilities lie in a weight file.

    Table ``t`` has ``lengths[t]`` entries: the symbols ``offsets[t]``, ``offsets[t] + 1``, ... and
    last the escape that stands for every other symbol. ``frequencies`` holds the entries of all
    tables one after another, each at least 1, each table adding up to ``2**PRECISION``.
    Symbols that belong to the first ``skip`` tables are not coded at all: they are 0.

    Raises WeightsError if that does not hold.
    """

    frequencies: NDArray[np.uint16]
    lengths: NDArray[np.uint16]
    offsets: NDArray[np.int16]
    skip: int = 0

    def __post_init__(self) -> None:
        for name, dtype in (("frequencies", np.uint16), ("lengths", np.uint16), ("offsets", np.int16)):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
                raise WeightsError(f"entropy tables: {name} is not a vector of {np.dtype(dtype)}")
        lengths = self.lengths.astype(np.int64)
        if not (len(lengths) == len(self.offsets) and 1 <= len(lengths) <= MAX_TABLES):
            raise WeightsError(f"entropy tables: {len(lengths)} lengths, {len(self.offsets)} offsets")
        if not 0 <= self.skip <= len(lengths):
            raise WeightsError(f"entropy tables: {self.skip} of {len(lengths)} tables are skipped")
        if lengths.min() < 2 or lengths.sum() != len(self.frequencies):
            raise WeightsError("entropy tables: lengths do not fit the frequencies")
        starts = np.cumsum(lengths) - lengths
        if (
            self.frequencies.min() < 1
            or (np.add.reduceat(self.frequencies.astype(np.int64), starts) != _TOTAL).any()
        ):
            raise WeightsError(f"entropy tables: frequencies below 1 or not adding up to {_TOTAL}")
        if (self.offsets + lengths - 2 > MAX_SYMBOL).any():
            raise WeightsError("entropy tables: symbols beyond 16 bits")
        self._prepare(starts, lengths)

    def _prepare(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """The kernels' view of the tables: cumulative frequencies, and a first guess for the search."""
        cumulative = np.zeros(len(self.frequencies) + len(lengths), np.uint32)
        guesses = np.empty((len(lengths), 2**_BUCKET_BITS), np.uint16)
        buckets = np.arange(2**_BUCKET_BITS) << (PRECISION - _BUCKET_BITS)
        first = starts + np.arange(len(lengths))
        for t, (start, length, at) in enumerate(zip(starts, lengths, first, strict=True)):
            ends = np.cumsum(self.frequencies[start : start + length].astype(np.int64))
            cumulative[at + 1 : at + 1 + length] = ends
            guesses[t] = np.searchsorted(ends, buckets, side="right")
        object.__setattr__(self, "_first", first)
        object.__setattr__(self, "_last", first + lengths - 1)
        object.__setattr__(self, "_cumulative", cumulative)
        object.__setattr__(self, "_guesses", guesses.ravel())
        object.__setattr__(self, "_offsets", self.offsets.astype(np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

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


@dataclass(frozen=True, eq=False)
class Part:
    """Symbols to be coded (16-bit range) and the table of each; both one-dimensional integers."""

    symbols: Integers
    indexes: Integers
    tables: Tables


def encode(parts: Sequence[Part]) -> bytes:
    """Code the parts into one byte string, empty if no symbol needs to be coded.

    Raises EncodeError if a symbol lies outside 16 bits, or is not 0 though its table is skipped,
    and ValueError for arrays that are no such part.
    """
    state = _INITIAL_STATE
    pieces: list[bytes] = []
    for part in reversed(parts):
        symbols, indexes = np.ascontiguousarray(part.symbols), _table_indexes(part.indexes, part.tables)
        if symbols.shape != indexes.shape or symbols.dtype.kind not in "iu":
            raise ValueError(f"{symbols.dtype} symbols {symbols.shape} for {indexes.shape} indexes")
        if len(symbols) and not MIN_SYMBOL <= symbols.min() <= symbols.max() <= MAX_SYMBOL:
            raise EncodeError(f"symbols from {symbols.min()} to {symbols.max()} exceed 16 bits")
        tables: Any = part.tables
        words = np.empty(_MAX_WORDS_PER_SYMBOL * len(symbols), np.uint16)
        position, state = _encode(
            symbols.astype(np.int32, copy=False), indexes, tables.skip, tables._first, tables._last,
            tables._offsets, tables._cumulative, words, state,
        )  # fmt: skip
        if position < 0:
            raise EncodeError("a symbol whose table is skipped is not 0")
        pieces.append(words[position:].astype("<u2", copy=False).tobytes())
    if state == _INITIAL_STATE and not any(pieces):
        return b""
    pieces.append(state.to_bytes((state.bit_length() + 7) // 8, "little"))
    return b"".join(reversed(pieces))


class Decoder:
    """Decodes the parts of one byte string in the order in which they were given to :func:`encode`.

    Raises InvalidStream if the bytes cannot be the start of any coded string.
    """

    def __init__(self, data: bytes) -> None:
        head = 4 - len(data) % 2 if data else 0
        state = int.from_bytes(data[:head], "little") if head else _INITIAL_STATE
        if len(data) < head or (head and head != (state.bit_length() + 7) // 8):
            raise InvalidStream("entropy coding: not a coded string")
        self._state = state
        self._words = np.frombuffer(data, "<u2", offset=head).astype(np.uint16, copy=False)
        self._position = 0

    def decode(self, indexes: Integers, tables: Tables) -> NDArray[np.int32]:
        """The symbols of the next part, one for each of the table ``indexes``.

        Raises TruncatedStream if the bytes end too early, InvalidStream if a symbol exceeds 16
        bits, and ValueError if ``indexes`` is no vector of indexes into ``tables``. The decoder is
        of no use after an error.
        """
        indexes = _table_indexes(indexes, tables)
        symbols = np.empty(len(indexes), np.int32)
        inner: Any = tables
        self._position, self._state = _decode(
            indexes, tables.skip, inner._first, inner._last, inner._offsets, inner._cumulative,
            inner._guesses, self._words, self._position, self._state, symbols,
        )  # fmt: skip
        if self._position == _TOO_SHORT:
            raise TruncatedStream("entropy coding: the bytes end before the last symbol")
        if self._position == _OUT_OF_RANGE:
            raise InvalidStream("entropy coding: a symbol exceeds 16 bits")
        return symbols

    def finish(self) -> None:
        """Check that every byte was used and the state is back where the encoder began.

        Raises InvalidStream otherwise: the bytes, or the tables they were decoded with, are not
        those of the encoder.
        """
        if self._position != len(self._words) or self._state != _INITIAL_STATE:
            raise InvalidStream("entropy coding: the bytes do not end with the last symbol")


def _table_indexes(indexes: Integers, tables: Tables) -> NDArray[np.uint16]:
    if indexes.ndim != 1 or indexes.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"table indexes are a vector of uint8 or uint16, not {indexes.dtype} {indexes.shape}"
        )
    if len(indexes) and indexes.max() >= len(tables):
        raise ValueError(f"table index {indexes.max()} of {len(tables)} tables")
    return np.ascontiguousarray(indexes, np.uint16)


_TOO_SHORT, _OUT_OF_RANGE = -1, -2


def _compiled(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile for one signature without the GIL; keep the machine code on disk where one can write."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(signature, nogil=True, cache=True)(function)
        except RuntimeError:  # neither the package nor the user's cache folder is writable
            return njit(signature, nogil=True)(function)

    return decorate


@_compiled("UniTuple(i8,2)(i4[::1],u2[::1],i8,i8[::1],i8[::1],i8[::1],u4[::1],u2[::1],i8)")
def _encode(symbols, indexes, skip, first, last, offsets, cumulative, words, state):  # type: ignore[no-untyped-def]
    """Code one part backwards into the end of ``words``: (position of its first word, state)."""
    x = np.int64(state)
    position = len(words)
    for i in range(len(symbols) - 1, -1, -1):
        t = np.int64(indexes[i])
        symbol = np.int64(symbols[i])
        if t < skip:
            if symbol != 0:
                return -1, 0
            continue
        entry = first[t] + symbol - offsets[t]
        if entry < first[t] or entry >= last[t]:
            negative = np.int64(entry < first[t])
            excess = offsets[t] - symbol if negative else entry - last[t] + 1  # 1 ... 2**16 - 1
            bits = np.int64(0)
            while excess >> (bits + 1):
                bits += 1
            if x >> (32 - bits):
                position -= 1
                words[position] = x & 0xFFFF
                x >>= 16
            x = x << bits | (excess - (1 << bits))
            if x >> 27:
                position -= 1
                words[position] = x & 0xFFFF
                x >>= 16
            x = x << 5 | bits << 1 | negative
            entry = last[t]
        start = np.int64(cumulative[entry])
        frequency = np.int64(cumulative[entry + 1]) - start
        if x >= frequency << (32 - PRECISION):
            position -= 1
            words[position] = x & 0xFFFF
            x >>= 16
        quotient = np.int64(np.uint32(x) // np.uint32(frequency))
        x = (quotient << PRECISION) + (x - quotient * frequency) + start
    return position, x


@_compiled(
    "UniTuple(i8,2)(u2[::1],i8,i8[::1],i8[::1],i8[::1],u4[::1],u2[::1],Array(u2,1,'C',readonly=True),i8,i8,i4[::1])"
)
def _decode(indexes, skip, first, last, offsets, cumulative, guesses, words, position, state, symbols):  # type: ignore[no-untyped-def]
    """Decode one part into ``symbols``: (position of the next word or an error code, state)."""
    x = np.uint32(state)
    places = np.empty(_BLOCK, np.int32)
    i = 0
    while i < len(indexes):
        # Gather the places of the next coded symbols without a branch, then decode only those.
        count = 0
        while i < len(indexes) and count < _BLOCK:
            places[count] = i
            symbols[i] = 0
            count += np.int64(indexes[i] >= skip)
            i += 1
        for j in range(count):
            place = places[j]
            t = np.int64(indexes[place])
            slot = x & np.uint32(_TOTAL - 1)
            guess = (t << _BUCKET_BITS) + np.int64(slot >> np.uint32(PRECISION - _BUCKET_BITS))
            entry = first[t] + np.int64(guesses[guess])
            while slot >= cumulative[entry + 1]:
                entry += 1
            start = cumulative[entry]
            x = np.uint32((cumulative[entry + 1] - start) * (x >> np.uint32(PRECISION)) + slot - start)
            if x < np.uint32(_INITIAL_STATE):
                if position >= len(words):
                    return _TOO_SHORT, 0
                x = np.uint32(x << np.uint32(16) | np.uint32(words[position]))
                position += 1
            symbol = entry - first[t] + offsets[t]
            if entry == last[t]:
                negative = np.int64(x & np.uint32(1))
                bits = np.int64(x >> np.uint32(1) & np.uint32(15))
                x >>= np.uint32(5)
                if x < np.uint32(_INITIAL_STATE):
                    if position >= len(words):
                        return _TOO_SHORT, 0
                    x = np.uint32(x << np.uint32(16) | np.uint32(words[position]))
                    position += 1
                excess = np.int64(1) << bits | np.int64(x) & ((np.int64(1) << bits) - 1)
                x >>= np.uint32(bits)
                if x < np.uint32(_INITIAL_STATE):
                    if position >= len(words):
                        return _TOO_SHORT, 0
                    x = np.uint32(x << np.uint32(16) | np.uint32(words[position]))
                    position += 1
                symbol = offsets[t] - excess if negative else symbol - 1 + excess
                if symbol < MIN_SYMBOL or symbol > MAX_SYMBOL:
                    return _OUT_OF_RANGE, 0
            symbols[place] = symbol
    return position, np.int64(x)


def quantise_pmf(pmf: ArrayLike) -> NDArray[np.uint16]:
    """The frequencies that code symbols of these probabilities in the fewest bits, escape last.

    ``pmf`` holds the probabilities of consecutive symbols, adding up to at most 1; what is missing
    is the escape's. Every frequency is at least 1, together they are ``2**PRECISION``. In floating
    point: for the export of weights only. Raises ValueError for what is no such vector.
    """
    p = np.asarray(pmf, np.float64)
    if p.ndim != 1 or not 1 <= len(p) < _TOTAL or not (p >= 0).all() or p.sum() > 1 + 1e-6:
        raise ValueError("not probabilities of 1 to 2**PRECISION - 1 symbols")
    p = np.append(p, max(0.0, 1 - p.sum()))
    frequencies = np.maximum(1, np.floor(p * _TOTAL)).astype(np.int64)
    # The sum of p * log(frequency) is concave in each frequency: steps of 1 by gain are optimal.
    surplus = int(frequencies.sum()) - _TOTAL
    step = -1 if surplus > 0 else 1

    def cost(i: int) -> float:
        after = int(frequencies[i]) + step
        return float(-p[i] * np.log(after / frequencies[i])) if after else np.inf

    heap = [(cost(i), i) for i in range(len(p))]
    heapq.heapify(heap)
    for _ in range(abs(surplus)):
        i = heap[0][1]
        frequencies[i] += step
        heapq.heapreplace(heap, (cost(i), i))
    answer: NDArray[np.uint16] = frequencies.astype(np.uint16)
    return answer


def gaussian_tables(scales: ArrayLike, skip: int = 0, tail: float = 2.0**-13) -> Tables:
    """Tables for normally distributed latents of mean 0, rounded to integers, one for each scale.

    ``scales`` are standard deviations above 0; the first ``skip`` of them are not coded at all.
    Symbols of a joint probability below ``tail`` at the two ends are left to the escape. In
    floating point: for the export of weights only. Raises ValueError for other scales.
    """
    deviations = np.asarray(scales, np.float64)
    if deviations.ndim != 1 or not (deviations > 0).all():
        raise ValueError("scales are a vector of positive numbers")
    frequencies, offsets = [], []
    for scale in deviations:
        positive = np.arange(1, max(2, int(np.ceil(8 * scale))) + 1)
        beyond = 2 * ndtr(-(positive - 0.5) / scale)  # probability of this symbol, its negative, and beyond
        reach = max(1, int(np.count_nonzero(beyond >= tail)))
        side = -np.diff(np.append(beyond, 0.0))[:reach] / 2
        frequencies.append(quantise_pmf(np.concatenate([side[::-1], [1 - beyond[0]], side])))
        offsets.append(-reach)
    return Tables.from_frequencies(frequencies, offsets, skip)

"""LIFF's stage at the size of its output, on a CPU: one pass over the output, everything else in the caches.

The same as :meth:`model.network.liff.LIFF.colours` and :func:`model.network.liff.bicubic`, which compute it
with torch, need not be compiled and can be trained; those pass over the output some twenty times, and
memory bounds them.

A chunk of an output row at a time: the features of the positions below it are spread over its pixels once
for all rows that lie above the same positions. Then each step is a loop over the chunk's pixels, which the
compiler turns into vector instructions.
"""

import numpy as np
from numba import float32, int64, void
from numpy.typing import NDArray

from model.compiled import FUSED, compiled, read

CHUNK = 128
"""Output pixels of one row that are computed together."""
_SPARE = 4  # positions are spread over four pixels at a time, the last ones beyond the chunk

Floats = NDArray[np.float32]
Indexes = NDArray[np.int64]


@compiled(
    void(read(float32, 3), read(int64), read(int64), read(float32, 2), read(float32, 2), read(float32, 3),
         read(float32, 2), float32[:, :, :]),
    FUSED,
)  # fmt: skip
def add_colours(low, rows, columns, row_terms, column_terms, weights, biases, out):  # type: ignore[no-untyped-def]
    """Add the filtered features to ``out`` (3, R, N).

    ``low`` (h, w, 4 H + 3), of each position: its share of the first layer (H), its filters (3 H), their
    bias (3). ``rows`` (R,) and ``columns`` (N,): the positions below the output pixels. ``row_terms``
    (R, H) and ``column_terms`` (H, N and at least CHUNK more): the offsets' share of the first layer.
    ``weights`` (L, H, H) and ``biases`` (L, H): the hidden layers. H is a multiple of 4.
    """
    H, K, L = row_terms.shape[1], low.shape[2], weights.shape[0]
    near = np.empty((K, CHUNK + _SPARE), np.float32)
    even, odd = np.empty((H, CHUNK), np.float32), np.empty((H, CHUNK), np.float32)
    colour = np.empty(CHUNK, np.float32)
    for start in range(0, len(columns), CHUNK):
        count = min(CHUNK, len(columns) - start)
        y = 0
        while y < len(rows):
            row = rows[y]
            x = 0
            while x < count:  # spread each position over its output pixels
                column, end = columns[start + x], x + 1
                while end < count and columns[start + end] == column:
                    end += 1
                for k in range(K):
                    value = low[row, column, k]
                    for i in range(x, end, 4):
                        near[k, i] = value
                        near[k, i + 1] = value
                        near[k, i + 2] = value
                        near[k, i + 3] = value
                x = end
            while y < len(rows) and rows[y] == row:
                for k in range(H):
                    for i in range(CHUNK):
                        value = near[k, i] + (row_terms[y, k] + column_terms[k, start + i])
                        even[k, i] = value if value > 0 else np.float32(0)
                for layer in range(L):
                    before, after = (odd, even) if layer % 2 else (even, odd)
                    for j in range(H):
                        units = after[j]
                        for i in range(CHUNK):
                            units[i] = biases[layer, j]
                        for k in range(0, H, 4):
                            a, b = weights[layer, j, k], weights[layer, j, k + 1]
                            c, d = weights[layer, j, k + 2], weights[layer, j, k + 3]
                            for i in range(CHUNK):
                                units[i] += (
                                    a * before[k, i]
                                    + b * before[k + 1, i]
                                    + c * before[k + 2, i]
                                    + d * before[k + 3, i]
                                )
                        for i in range(CHUNK):
                            units[i] = units[i] if units[i] > 0 else np.float32(0)
                last = odd if L % 2 else even
                for channel in range(3):
                    for i in range(CHUNK):
                        colour[i] = near[4 * H + channel, i]
                    for k in range(0, H, 4):
                        f = H + channel * H + k
                        for i in range(CHUNK):
                            colour[i] += (
                                near[f, i] * last[k, i]
                                + near[f + 1, i] * last[k + 1, i]
                                + near[f + 2, i] * last[k + 2, i]
                                + near[f + 3, i] * last[k + 3, i]
                            )
                    for i in range(count):
                        out[channel, y, start + i] += colour[i]
                y += 1


@compiled(
    void(float32[:, :, :], read(int64, 2), read(float32, 2), read(int64, 2), read(float32, 2),
         float32[:, :, :]),
    FUSED,
)  # fmt: skip
def enlarge(x, rows, row_weights, columns, column_weights, out):  # type: ignore[no-untyped-def]
    """Write the enlargement of ``x`` (3, h, w) to ``out`` (3, R, N), four taps along each axis.

    ``rows`` (4, R) and ``columns`` (4, N) are the taps' places in ``x``; their weights have the same shapes.
    """
    width = x.shape[2]
    line = np.empty(width, np.float32)
    for y in range(rows.shape[1]):
        a, b, c, d = row_weights[0, y], row_weights[1, y], row_weights[2, y], row_weights[3, y]
        for channel in range(3):
            above, upper = x[channel, rows[0, y]], x[channel, rows[1, y]]
            lower, below = x[channel, rows[2, y]], x[channel, rows[3, y]]
            for i in range(width):
                line[i] = a * above[i] + b * upper[i] + c * lower[i] + d * below[i]
            for i in range(columns.shape[1]):
                out[channel, y, i] = (
                    column_weights[0, i] * line[columns[0, i]]
                    + column_weights[1, i] * line[columns[1, i]]
                    + column_weights[2, i] * line[columns[2, i]]
                    + column_weights[3, i] * line[columns[3, i]]
                )

"""LIFF's stage at the size of its output, on a CPU: one pass over the output, everything else in the caches.

The same as :meth:`model.network.liff.LIFF.colours` and :func:`model.network.liff.bicubic`, which compute it
with torch, need not be compiled and can be trained; those pass over the output some twenty times, and
memory bounds them.

A chunk of an output row at a time: the features of the positions below it are spread over its pixels once
for all rows that lie above the same positions. Then sixteen pixels at a time go through the MLP and the
filter.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, int64, types, void
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from model.compiled import FUSED, compiled, read

CHUNK = 128
"""Output pixels of one row that are computed together."""
UNITS = 8
"""A hidden layer has whole multiples of so many units: their sums are held in registers together."""
_LANES = 16  # pixels in one vector; the compiler splits it where vectors are shorter
_SPARE = 4  # positions are spread over four pixels at a time, the last ones beyond the chunk

Floats = NDArray[np.float32]
Indexes = NDArray[np.int64]

_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(ir.FloatType(), _LANES)
_BYTES = 4 * _LANES


@intrinsic
def _pixels_filtered(  # type: ignore[no-untyped-def]
    typing, near, width, terms, columns, columns_width, weights, biases, units, layers, scratch
):
    """The MLP and the filter of 16 pixels, three colours of which are left at the start of ``scratch``.

    All but ``units`` (H) and ``layers`` (L) are addresses or, the widths, bytes from row to row: ``near``
    (4 H + 3 rows), ``terms`` (H), ``columns`` (H rows), ``weights`` (L, H inputs, H), ``biases`` (L, H),
    ``scratch`` 2 H + 3 vectors. Written as LLVM instructions, because the compiler does not hold sums in
    registers over a loop by itself.
    """

    def number(n: int) -> Any:
        return ir.Constant(_I64, n)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        near, width, terms, columns, columns_width, weights, biases, units, layers, scratch = arguments
        zero = ir.Constant(_VECTOR, [0.0] * _LANES)
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        fused = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{_LANES}f32")

        def at(address: Any, index: Any, size: Any) -> Any:
            return builder.add(address, builder.mul(index, size))

        def load(address: Any) -> Any:
            value = builder.load(builder.inttoptr(address, ir.PointerType(_VECTOR)))
            value.align = 4
            return value

        def store(value: Any, address: Any) -> None:
            builder.store(value, builder.inttoptr(address, ir.PointerType(_VECTOR))).align = 4

        def splat(address: Any) -> Any:
            value = builder.load(builder.inttoptr(address, ir.PointerType(ir.FloatType())))
            undefined = ir.Constant(_VECTOR, ir.Undefined)
            one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
            places = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
            return builder.shuffle_vector(one, undefined, places)

        def rectified(value: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", value, zero), value, zero)

        float_size, vector_size = number(4), number(_BYTES)
        colours = scratch
        first = builder.add(scratch, number(3 * _BYTES))
        second = at(first, units, vector_size)
        with cgutils.for_range(builder, units) as unit:
            offset = builder.fadd(
                splat(at(terms, unit.index, float_size)), load(at(columns, unit.index, columns_width))
            )
            value = builder.fadd(load(at(near, unit.index, width)), offset)
            store(rectified(value), at(first, unit.index, vector_size))
        with cgutils.for_range(builder, layers) as layer:
            odd = builder.trunc(layer.index, ir.IntType(1))
            source, target = builder.select(odd, second, first), builder.select(odd, first, second)
            bias = at(biases, builder.mul(layer.index, units), float_size)
            matrix = at(weights, builder.mul(layer.index, builder.mul(units, units)), float_size)
            with cgutils.for_range(builder, builder.udiv(units, number(UNITS))) as group:
                start = builder.mul(group.index, number(UNITS))
                sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(UNITS)]
                for i, held in enumerate(sums):
                    builder.store(splat(at(bias, builder.add(start, number(i)), float_size)), held)
                with cgutils.for_range(builder, units) as unit:
                    value = load(at(source, unit.index, vector_size))
                    row = at(matrix, builder.add(builder.mul(unit.index, units), start), float_size)
                    for i, held in enumerate(sums):
                        weight = splat(builder.add(row, number(4 * i)))
                        builder.store(builder.call(fused, [weight, value, builder.load(held)]), held)
                for i, held in enumerate(sums):
                    place = at(target, builder.add(start, number(i)), vector_size)
                    store(rectified(builder.load(held)), place)
        last = builder.select(builder.trunc(layers, ir.IntType(1)), second, first)
        sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(3)]
        for channel, held in enumerate(sums):
            row = builder.add(builder.mul(units, number(4)), number(channel))
            builder.store(load(at(near, row, width)), held)
        with cgutils.for_range(builder, units) as unit:
            value = load(at(last, unit.index, vector_size))
            for channel, held in enumerate(sums):
                row = builder.add(builder.mul(units, number(1 + channel)), unit.index)
                product = builder.call(fused, [load(at(near, row, width)), value, builder.load(held)])
                builder.store(product, held)
        for channel, held in enumerate(sums):
            store(builder.load(held), at(colours, number(channel), vector_size))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10), generate


_filtered: Any = _pixels_filtered


@compiled(
    void(read(float32, 3), read(int64), read(int64), read(float32, 2), read(float32, 2), read(float32, 3),
         read(float32, 2), float32[:, :, :]),
)  # fmt: skip
def add_colours(low, rows, columns, row_terms, column_terms, weights, biases, out):  # type: ignore[no-untyped-def]
    """Add the filtered features to ``out`` (3, R, N).

    ``low`` (h, w, K), K at least 4 H + 3, of each position: its share of the first layer (H), its filters
    (3 H), their bias (3). ``rows`` (R,) and ``columns`` (N,): the positions below the output pixels.
    ``row_terms`` (R, H) and ``column_terms`` (H, N and at least CHUNK more): the offsets' share of the first
    layer. ``weights`` (L, H inputs, H) and ``biases`` (L, H): the hidden layers. H is a multiple of UNITS.
    """
    H, L = row_terms.shape[1], weights.shape[0]
    K, width = 4 * H + 3, 4 * (CHUNK + _SPARE)
    near = np.empty((K, CHUNK + _SPARE), np.float32)
    scratch = np.empty((2 * H + 3, _LANES), np.float32)
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
                for x in range(0, count, _LANES):
                    _filtered(
                        near.ctypes.data + 4 * x,
                        width,
                        row_terms.ctypes.data + 4 * H * y,
                        column_terms.ctypes.data + 4 * (start + x),
                        4 * column_terms.shape[1],
                        weights.ctypes.data,
                        biases.ctypes.data,
                        H,
                        L,
                        scratch.ctypes.data,
                    )
                    for channel in range(3):
                        for i in range(min(_LANES, count - x)):
                            out[channel, y, start + x + i] += scratch[channel, i]
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

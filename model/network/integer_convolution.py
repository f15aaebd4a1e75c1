"""A 3 x 3 convolution of 16-bit integers with sums of 32 bits: exact, and several times as fast as float64.

``llvm.x86.*.pmadd.wd`` multiplies pairs of 16-bit integers and adds the two products, 32 of them in one
instruction where vectors have 512 bits. No compiler finds it by itself, so the innermost tile is written as
LLVM instructions. Whoever calls has to prove that no sum leaves 32 bits; nothing here checks it.

A transposed convolution of 5 x 5 and stride 2 is a convolution of 3 x 3 with four times the outputs, one set
for each place of an output in its 2 x 2 cell (:func:`of_transposed`).
"""

import os
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import int16, int32, int64, types, void
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from model.compiled import compiled, read

POSITIONS = 8
"""Positions of one row that are computed together: rows are padded to whole multiples."""
_LANES = 16  # sums in one vector
_VECTORS = 2
OUTPUTS = _VECTORS * _LANES
"""Output channels that are computed together: weights are padded to whole multiples."""

Weights16 = NDArray[np.int16]
Sums32 = NDArray[np.int32]

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_INTRINSICS = {512: "llvm.x86.avx512.pmaddw.d.512", 256: "llvm.x86.avx2.pmadd.wd"}


def vector_bits() -> int:
    """How many bits the instruction takes on this machine: 512, 256 or, where it has none, 0.

    0, too, where NUMBA_CPU_NAME or NUMBA_CPU_FEATURES say that the code is for another machine.
    """
    if {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"} & os.environ.keys():
        return 0
    features = binding.get_host_cpu_features()
    return 512 if features.get("avx512bw") else 256 if features.get("avx2") else 0


def packed(weight: NDArray[Any]) -> Weights16:
    """Weights (O, C, 3, 3), C even, as :func:`convolve` reads them: (9 C / 2, O padded, 2)."""
    outputs, channels = weight.shape[:2]
    columns = weight.transpose(2, 3, 1, 0).reshape(9 * channels // 2, 2, outputs).transpose(0, 2, 1)
    padded = np.zeros((len(columns), -(-outputs // OUTPUTS) * OUTPUTS, 2), np.int16)
    padded[:, :outputs] = columns
    return padded


def of_transposed(weight: NDArray[Any]) -> NDArray[Any]:
    """A transposed convolution's weights (C, O, 5, 5) as those (4 O, C, 3, 3) of a convolution.

    Output (2 y + a, 2 x + b) of channel o is output (y, x) of channel (2 a + b) O + o.
    """
    channels, outputs = weight.shape[:2]
    phases = np.zeros((2, 2, outputs, channels, 3, 3), weight.dtype)
    for a, b in np.ndindex(2, 2):
        for y, x in np.ndindex(3, 3):
            row, column = a + 4 - 2 * y, b + 4 - 2 * x
            if row < 5 and column < 5:
                phases[a, b, :, :, y, x] = weight[:, :, row, column].T
    return phases.reshape(4 * outputs, channels, 3, 3)


def convolve(activations: NDArray[np.int16], weights: Weights16, bias: Sums32) -> Sums32:
    """Sums (h, w, O padded) of ``activations`` (h + 2, w + 2, C), whose edges are the padding.

    ``weights`` are :func:`packed`, ``bias`` (O padded,); w is a multiple of POSITIONS.
    """
    height, width, _ = activations.shape
    sums = np.empty((height - 2, width - 2, len(bias)), np.int32)
    sums[:] = bias
    _convolve(activations, weights, sums)
    return sums


def _pairs_product(builder: Any, a: Any, b: Any, bits: int) -> Any:
    """32 and 32 16-bit integers -> 16 sums of two products."""
    vector = ir.VectorType(_I32, bits // 32)
    words = ir.VectorType(ir.IntType(16), bits // 16)
    kind = ir.FunctionType(vector, [words, words])
    function = cgutils.get_or_insert_function(builder.module, kind, _INTRINSICS[bits])
    if bits == 512:
        return builder.call(function, [a, b])
    undefined = ir.Constant(a.type, ir.Undefined)
    halves = []
    for first in (0, 16):
        places = ir.Constant(ir.VectorType(_I32, 16), list(range(first, first + 16)))
        half = [builder.shuffle_vector(x, undefined, places) for x in (a, b)]
        halves.append(builder.call(function, half))
    return builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(_I32, 16), list(range(16))))


@intrinsic
def _tile(typing, activations, row, pairs, weights, sums, outputs, channels):  # type: ignore[no-untyped-def]
    """Add the products of POSITIONS positions and OUTPUTS outputs to ``sums``.

    ``activations``, ``weights`` and ``sums`` are addresses; ``row`` is the bytes of a row of activations,
    ``pairs`` the pairs of activations below one row of the kernel.
    """
    bits = vector_bits()
    sums_type, words_type = ir.VectorType(_I32, _LANES), ir.VectorType(ir.IntType(16), 2 * _LANES)

    def number(n: int) -> Any:
        return ir.Constant(_I64, n)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        activations, row, pairs, weights, sums, outputs, channels = arguments
        width = builder.mul(outputs, number(4))  # bytes of one position's sums, and of a pair's weights
        step = builder.mul(channels, number(2))  # bytes from one position's activations to the next one's

        def load(address: Any, kind: Any) -> Any:
            value = builder.load(builder.inttoptr(address, ir.PointerType(kind)))
            value.align = 4
            return value

        def place(p: int, v: int) -> Any:
            return builder.add(sums, builder.add(builder.mul(width, number(p)), number(4 * _LANES * v)))

        cells = [(p, v) for p in range(POSITIONS) for v in range(_VECTORS)]
        held = {cell: cgutils.alloca_once(builder, sums_type) for cell in cells}
        for cell in cells:
            builder.store(load(place(*cell), sums_type), held[cell])
        splat = ir.Constant(ir.VectorType(_I32, _LANES), [0] * _LANES)
        with cgutils.for_range(builder, number(3)) as kernel_row:
            first = builder.add(activations, builder.mul(kernel_row.index, row))
            below = builder.mul(builder.mul(kernel_row.index, pairs), width)
            with cgutils.for_range(builder, pairs) as pair:
                at = builder.add(builder.add(weights, below), builder.mul(pair.index, width))
                columns = [load(builder.add(at, number(4 * _LANES * v)), words_type) for v in range(_VECTORS)]
                near = builder.add(first, builder.mul(pair.index, number(4)))
                for p in range(POSITIONS):
                    two = load(builder.add(near, builder.mul(step, number(p))), _I32)
                    undefined = ir.Constant(sums_type, ir.Undefined)
                    one = builder.insert_element(undefined, two, ir.Constant(_I32, 0))
                    spread = builder.bitcast(builder.shuffle_vector(one, undefined, splat), words_type)
                    for v in range(_VECTORS):
                        product = _pairs_product(builder, spread, columns[v], bits)
                        builder.store(builder.add(builder.load(held[p, v]), product), held[p, v])
        for cell in cells:
            address = builder.inttoptr(place(*cell), ir.PointerType(sums_type))
            builder.store(builder.load(held[cell]), address).align = 4
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


def _loop(activations, weights, sums):  # type: ignore[no-untyped-def]
    """Every tile of ``sums``."""
    height, width, outputs = sums.shape
    channels = activations.shape[2]
    row = activations.shape[1] * channels * 2
    for y in range(height):
        for output in range(0, outputs, OUTPUTS):
            for x in range(0, width, POSITIONS):
                _tile(  # type: ignore[call-arg]
                    activations.ctypes.data + y * row + x * channels * 2,
                    row,
                    3 * channels // 2,
                    weights.ctypes.data + output * 4,
                    sums.ctypes.data + ((y * width + x) * outputs + output) * 4,
                    outputs,
                    channels,
                )


_convolve: Any = None
if vector_bits():
    _convolve = compiled(void(read(int16, 3), read(int16, 3), int32[:, :, ::1]))(_loop)


@compiled(types.boolean(read(int32, 3), int64, int64, int64, int64, int64, int16[:, :, :]))
def activate(sums, shift, leak_shift, top, left, limit, out):  # type: ignore[no-untyped-def]
    """Round the ``sums`` (h, w, 4 C padded) of a transposed convolution, rectify them, write them to ``out``.

    Values are divided by 2^shift, halves rounded up, and by 2^leak_shift, rounded down, where negative.
    ``out`` (H, W, C) gets the part of the (2 h, 2 w) values from ``top`` and ``left`` on. False if a value
    exceeds ``limit``.
    """
    half = np.int64(1) << (shift - 1)
    height, width, channels = out.shape
    for y in range(height):
        for x in range(width):
            phase = ((top + y) % 2) * 2 + (left + x) % 2
            for c in range(channels):
                value = (
                    np.int64(sums[(top + y) // 2, (left + x) // 2, phase * channels + c]) + half
                ) >> shift
                if value < 0:
                    value >>= leak_shift
                if value > limit or value < -limit:
                    return False
                out[y, x, c] = value
    return True


@compiled(void(read(int32, 3), int64, int64, int64, int64, int64, types.uint8[:, :, :], int32[:, :, :]))
def finish(sums, index_shift, mean_shift, top, left, highest, index, mean):  # type: ignore[no-untyped-def]
    """Round the ``sums`` (h, w, 2 M padded) to ``index`` (M, H, W), 0 to ``highest``, and ``mean`` (M, H, W).

    Both get the part of the sums from ``top`` and ``left`` on.
    """
    index_half, mean_half = np.int64(1) << (index_shift - 1), np.int64(1) << (mean_shift - 1)
    latents = index.shape[0]
    for y in range(index.shape[1]):
        for m in range(latents):
            for x in range(index.shape[2]):
                value = (np.int64(sums[top + y, left + x, m]) + index_half) >> index_shift
                index[m, y, x] = min(max(value, 0), highest)
                mean[m, y, x] = (np.int64(sums[top + y, left + x, latents + m]) + mean_half) >> mean_shift

"""How fast training goes: steps per second, and their share of the device's peak."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

_TRIALS = 8


def counting() -> FlopCounterMode:
    """Counts, as a context, the operations of convolutions and matrix products, those in place as well."""
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: _product})


def _product(sum_: torch.Size, a: torch.Size, b: torch.Size, **_: object) -> int:
    """Operations of ``sum_ += a b``, of these shapes."""
    return 2 * a[0] * a[1] * b[1]


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large matrix product, the best of a few."""
    edge = 8192 if device.type == "cuda" else 1024
    matrix = torch.rand((edge, edge), device=device).to(dtype)
    seconds = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # reading a value waits for the device
        seconds.append(time.perf_counter() - began)
    return 2 * edge**3 / min(seconds)


class Speed:
    """The speed of one run on ``device``, whose matrix products are computed in ``dtype``.

    Operations are those of convolutions and matrix products, a multiplication and an addition
    counted as two; their number is the mean over the steps counted so far.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype):
        self._peak = peak(device, dtype)
        self._counts: list[int] = []

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the operations of the one step done inside (not of compiled code)."""
        with counting() as counter:
            yield
        self._counts.append(counter.get_total_flops())

    def of(self, steps: int, seconds: float) -> dict[str, float]:
        """``steps_per_second`` and ``share_of_peak`` (0 to 1); at least one step was counted."""
        rate = steps / seconds
        operations = sum(self._counts) / len(self._counts)
        return {"steps_per_second": round(rate, 3), "share_of_peak": round(rate * operations / self._peak, 4)}

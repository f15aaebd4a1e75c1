"""What a run of training tells while it goes on: a progress bar, and lines of JSON in a log."""

import json
import math
import time
from pathlib import Path
from typing import Any, Self

from torch import Tensor
from tqdm import tqdm

from model.training.speed import Speed
from model.training.stages import Losses

_BAR = "{desc}: {percentage:3.1f}% |{bar}| {elapsed}<{remaining} {postfix}"


class Report:
    """Tells the mean losses of the steps since it told the last ones. A context manager: it ends its bar.

    ``progress`` 0 to 1 is where the run begins.
    """

    def __init__(self, stage: str, log: Path | None, progress: float):
        self._stage = stage
        self._log = log
        self._bar = tqdm(total=100.0, initial=100 * progress, desc=stage, unit="%", bar_format=_BAR)
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, losses: Losses) -> None:
        """Count the losses of one step."""
        self._count += 1
        for name, value in (("bpp", losses.bpp), ("mse", losses.mse), ("loss", losses.total)):
            self._sums[name] = self._sums[name] + value

    def tell(self, step: int, progress: float, speed: Speed) -> None:
        """Show and write the means of what was counted, and begin to count anew."""
        means = {name: float(total) / self._count for name, total in self._sums.items()}
        psnr = -10 * math.log10(means["mse"] + 1e-12)
        pace = speed.of(self._count, time.monotonic() - self._since)
        self._bar.set_postfix_str(
            f"step {step} loss {means['loss']:.3f} {means['bpp']:.3f} bpp {psnr:.2f} dB "
            f"{pace['steps_per_second']:.2f} steps/s"
        )
        self._bar.update(min(100 * progress, 100) - self._bar.n)
        row = {"stage": self._stage, "step": step, "progress": progress, "psnr": psnr}
        append(self._log, row | means | pace)
        self._forget()

    def _forget(self) -> None:
        self._sums: dict[str, Tensor | float] = {"bpp": 0.0, "mse": 0.0, "loss": 0.0}
        self._count = 0
        self._since = time.monotonic()


def append(log: Path | None, row: dict[str, Any]) -> None:
    """Write one line of JSON, if there is a log."""
    if log is not None:
        with log.open("a") as file:
            file.write(json.dumps(row) + "\n")

"""Seconds spent in each stage of one piece of work."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class StageClock:
    """Adds up wall-clock seconds by stage name; one clock per job, used by one thread."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        """Count ``seconds`` to stage ``name``."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body of a ``with`` statement as part of stage ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add_parallel(self, wall: float, clocks: Iterable["StageClock"]) -> None:
        """Divide ``wall`` seconds among the stages in proportion to ``clocks``, which ran side by side."""
        all_clocks = StageClock()
        for clock in clocks:
            for name, seconds in clock.seconds.items():
                all_clocks.add(name, seconds)
        total = sum(all_clocks.seconds.values())
        for name, seconds in all_clocks.seconds.items():
            self.add(name, wall * seconds / total)

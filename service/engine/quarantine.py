"""Which pictures ended worker processes, so that none of them ends a third."""

import time
from collections.abc import Callable

from cachetools import LRUCache

from service.errors import Quarantined


class Quarantine:
    """Deaths of workers by picture and layer, forgotten after ``seconds`` or on success.

    The death of a worker that was not ended by us is blamed on what it worked on. That may be unjust (an
    operator's kill, another job in the same worker, memory that ran out), so a success clears the record:
    only a job that fails every time, ``deaths`` times, is refused, for some minutes. To decode a layer is to
    decode all below it; so a success speaks for the layers below, and guilt for the layers above.
    """

    def __init__(
        self,
        deaths: int = 2,
        seconds: float = 300,
        max_pictures: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deaths = deaths
        self._seconds = seconds
        self._clock = clock
        self._blamed: LRUCache[str, list[tuple[int, float]]] = LRUCache(max_pictures)

    def blame(self, key: str, layer: int) -> None:
        """A worker ended while it worked on this layer."""
        self._blamed[key] = [*self._blamed.get(key, ()), (layer, self._clock() + self._seconds)]

    def absolve(self, key: str, layer: int) -> None:
        """This layer was decoded: it was innocent, and so is all below it."""
        if key in self._blamed:
            self._keep(key, [(blamed, until) for blamed, until in self._blamed[key] if blamed > layer])

    def suspects(self, key: str) -> bool:
        """True if this picture was ever blamed and not absolved."""
        return key in self._blamed

    def check(self, key: str, layer: int) -> None:
        """Raises Quarantined if this layer, or one below it, ended too many workers."""
        if key not in self._blamed:
            return
        now = self._clock()
        records = [(blamed, until) for blamed, until in self._blamed[key] if until > now]
        self._keep(key, records)
        for guilty in {blamed for blamed, _ in records if blamed <= layer}:
            ends = sorted(until for blamed, until in records if blamed == guilty)
            if len(ends) >= self._deaths:
                left = ends[-self._deaths] - now  # then too few deaths are remembered
                raise Quarantined("this picture ended the worker process every time it was tried", left)

    def __len__(self) -> int:
        return len(self._blamed)

    def _keep(self, key: str, records: list[tuple[int, float]]) -> None:
        if records:
            self._blamed[key] = records
        else:
            del self._blamed[key]

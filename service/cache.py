"""A cache bounded in bytes that forgets what was used longest ago."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keeps values whose sizes add up to at most ``limit``; safe for several threads.

    Sizes are in whatever unit the limit is (bytes, or 1 each to count entries). A value larger
    than half the limit is not kept, so that one value cannot push everything else out.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """The value, now the most recently used one, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: K, value: V, size: int = 1) -> None:
        """Keep ``value``, forgetting others as needed."""
        with self._lock:
            self._remove(key)
            if 2 * size > self.limit:
                return
            self._entries[key] = (value, size)
            self.size += size
            while self.size > self.limit:
                self._remove(next(iter(self._entries)))

    def discard(self, key: K) -> None:
        """Forget one value, if it is here."""
        with self._lock:
            self._remove(key)

    def _remove(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= entry[1]

    def __len__(self) -> int:
        return len(self._entries)

"""A cache bounded in bytes that forgets what was used longest ago."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keeps values whose sizes add up to at most ``limit``; safe for several threads.

    A value larger than half the limit is not kept, so that one value cannot push everything else out.
    """

    def __init__(self, limit: int) -> None:
        """``limit`` is in whatever unit the sizes are, such as bytes."""
        self._entries: LRUCache[K, tuple[V, int]] = LRUCache(limit, getsizeof=lambda entry: entry[1])
        self._lock = Lock()

    @property
    def size(self) -> float:
        """The sizes of all values together."""
        return self._entries.currsize

    def get(self, key: K) -> V | None:
        """The value, now the most recently used one, or None."""
        with self._lock:
            entry = self._entries.get(key)
            return None if entry is None else entry[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep ``value``, forgetting others as needed."""
        with self._lock:
            self._entries.pop(key, None)
            if 2 * size <= self._entries.maxsize:
                self._entries[key] = (value, size)

    def drop(self, key: K) -> None:
        """Forget the value, if there is one."""
        with self._lock:
            self._entries.pop(key, None)

    def drop_where(self, unwanted: Callable[[K], bool]) -> None:
        """Forget all values under such keys; looks at every key."""
        with self._lock:
            for key in [key for key in self._entries if unwanted(key)]:
                del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)

"""Room on the disk of the embedded store, which must not run full: a server that cannot write ends."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from service.errors import StoreFull


@dataclass(frozen=True)
class Disk:
    """The disk that ``folder`` lies on, of which ``reserve`` bytes stay free: for deletions, and for the
    store's own files while they are written anew.
    """

    folder: Path
    reserve: int

    @property
    def free(self) -> int:
        """Bytes that may still be written by us. Raises OSError."""
        return shutil.disk_usage(self.folder).free

    def require(self, size: int) -> None:
        """Raise StoreFull if ``size`` bytes more would be too many; a disk that tells nothing is let pass."""
        try:
            room = self.free - self.reserve
        except OSError:
            return
        if size > room:
            raise StoreFull("the disk of the store has no room left for another picture")

"""Which pictures there are: pages of the listing, and everything that the store holds."""

from collections.abc import AsyncIterator, Sequence

from service.errors import DamagedStream, NotFound
from service.metrics import Metrics
from service.storage.errands import Errands
from service.storage.listing import Listing
from service.storage.reading import Found, Reader, is_gone
from service.storage.records import Record, is_index_entry, picture_of, picture_of_key

_BATCH = 500


class Catalogue:
    """All pictures: by age, in pages, as the ``listing`` has them, or in no order, as their keys are found.

    Raises StoreUnavailable.
    """

    def __init__(self, errands: Errands, listing: Listing, reader: Reader, metrics: Metrics) -> None:
        self._errands = errands
        self._listing = listing
        self._reader = reader
        self._metrics = metrics

    async def page(self, cursor: str | None, limit: int) -> tuple[list[Record], str | None]:
        """Up to ``limit`` pictures, newest first, after ``cursor``; and the next cursor, if any.

        Entries of pictures that are gone are removed; damaged pictures, and those of another version of the
        format, are left out.
        """
        entries = await self._listing.entries(cursor, limit)
        records = [found for found in await self._listed(entries) if isinstance(found, Record)]
        named = [entry.decode() for entry in entries if is_index_entry(entry)]
        return records, named[-1] if named and len(entries) == limit else None

    async def prune(self) -> int:
        """Remove all entries of the listing whose pictures are gone; returns how many these were."""
        removed, cursor = 0, None
        while entries := await self._listing.entries(cursor, _BATCH):
            removed += sum(is_gone(found) for found in await self._listed(entries))
            cursor = entries[-1]
        return removed

    async def _listed(self, entries: Sequence[bytes]) -> list[Found]:
        """The records of entries of the listing, or why there is none; entries of what is gone are removed.

        A picture stored again after it had expired has a new entry, and the old one is nobody's.
        """
        found: dict[bytes, Found] = {}
        for entry in entries:
            known = self._reader.remembered(picture_of(entry))  # perhaps the picture's last life
            if known is not None and known.index_entry.encode() == entry:
                found[entry] = known
            elif not is_index_entry(entry):
                found[entry] = NotFound("no picture's entry")
        unknown = [entry for entry in entries if entry not in found]
        for entry, record in zip(
            unknown, await self._reader.look_up(list(map(picture_of, unknown))), strict=True
        ):
            listed = not isinstance(record, Record) or record.index_entry.encode() == entry
            found[entry] = record if listed else NotFound("a picture of another life")
            if isinstance(record, DamagedStream):
                self._metrics.damaged.inc()
        gone = [entry for entry in entries if is_gone(found[entry])]
        if gone:
            await self._listing.remove(gone)
        return [found[entry] for entry in entries]

    async def ids(self) -> AsyncIterator[str]:
        """Every picture id in the store, in no order, perhaps more than once."""
        async for key in self._errands.keys("{*}:stream"):
            picture = picture_of_key(key)
            if picture is not None:  # others' keys are none of our business
                yield picture

    async def all_records(self) -> AsyncIterator[Record]:
        """Every readable picture in the store, once, in no order; only headers are read."""
        async for _, found in self.all_found():
            if isinstance(found, Record):
                yield found

    async def all_found(self) -> AsyncIterator[tuple[str, Found]]:
        """Every picture in the store, once, in no order: its record, or why there is none."""
        seen: set[str] = set()
        batch: list[str] = []
        async for picture in self.ids():
            if picture not in seen:
                seen.add(picture)
                batch.append(picture)
            if len(batch) == _BATCH:
                for one in zip(batch, await self._reader.look_up(batch), strict=True):
                    yield one
                batch.clear()
        for one in zip(batch, await self._reader.look_up(batch), strict=True):
            yield one

    async def move(self) -> int:
        """Move what earlier versions have listed to where this one does; returns how many pictures that were.
        It is read from both places meanwhile. Raises StoreUnavailable or StoreFull.
        """
        return await self._listing.move()

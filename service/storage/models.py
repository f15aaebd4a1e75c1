"""Which weights the stored pictures need, and which of these are installed: ``compass models``."""

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from model.errors import WeightsError
from model.installed import installed, model_id, path_of_profile
from model.stream.container import Header
from service.errors import ServiceError
from service.metrics import Metrics
from service.settings import Settings
from service.storage.by_hand import open_store
from service.storage.store import Store

EXIT_MISSING = 3
_RETRY_SECONDS = 10.0

log = logging.getLogger("compass")


@dataclass
class Models:
    """Pictures by the model id of their weights; ``graphics`` need none."""

    pictures: Counter[bytes] = field(default_factory=Counter)
    graphics: int = 0

    def add(self, header: Header) -> None:
        """Count one picture."""
        if header.is_graphic:
            self.graphics += 1
        else:
            self.pictures[header.model_id] += 1

    @property
    def missing(self) -> dict[bytes, int]:
        """How many pictures cannot be shown, by the model id of the weights that are not installed."""
        return {identity: n for identity, n in self.pictures.items() if identity not in installed()}

    def complaints(self) -> list[str]:
        """A sentence for each model whose weights pictures need and which are not installed."""
        return [
            f"{n} pictures need the weights of model {identity.hex()}, which are not installed"
            for identity, n in sorted(self.missing.items())
        ]


async def count(store: Store) -> Models:
    """Count every readable picture in the store. Raises StoreUnavailable."""
    models = Models()
    async for record in store.catalogue.all_records():  # what is wrong with the others, fsck says
        models.add(record.header)
    return models


async def watch(store: Store, metrics: Metrics, hours: float) -> None:
    """Count at once, and again every so many hours (0: never); tell metrics and log. Ends when cancelled."""
    while True:
        try:
            models = await count(store)
        except ServiceError as error:
            log.warning("the pictures could not be counted by model: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        metrics.pictures.clear()
        for identity, pictures in models.pictures.items():
            metrics.pictures.labels(identity.hex()).set(pictures)
        metrics.pictures.labels("none").set(models.graphics)
        metrics.pictures_without_weights.set(sum(models.missing.values()))
        for complaint in models.complaints():
            log.warning("%s", complaint)
        if not hours:
            return
        await asyncio.sleep(hours * 3600)


def described(models: Models, profile: str) -> str:
    """A line for each model that is installed or needed: its id, its file, how many pictures need it."""
    try:
        current = model_id(path_of_profile(profile))
    except WeightsError:
        current = b""
    lines = []
    for identity in sorted({*installed(), *models.pictures}, key=lambda one: -models.pictures[one]):
        path = installed().get(identity)
        name = path.name if path else "NOT INSTALLED"
        codes = ", codes new pictures" if identity == current else ""
        lines.append(f"{identity.hex()}  {models.pictures[identity]:>9} pictures  {name}{codes}")
    lines.append(f"{'no weights':<16}  {models.graphics:>9} pictures  graphics")
    return "\n".join(lines)


def run() -> int:
    """Print the models of the store named by the settings; 3 if pictures need one that is not installed."""
    settings = Settings()

    async def counted() -> Models:
        async with AsyncExitStack() as stack:
            return await count(await open_store(settings, stack))

    models = asyncio.run(counted())
    print(described(models, settings.profile))
    return EXIT_MISSING if models.missing else 0

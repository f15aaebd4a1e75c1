"""Which engine the settings ask for."""

from service.engine.cluster import ClusterEngine
from service.engine.fallback import WithFallback
from service.engine.interface import Engine
from service.engine.pool import Pool
from service.settings import Settings


def engine_of(settings: Settings) -> Engine:
    """The engine, not started yet. Raises ServiceError if it cannot be had here."""
    if settings.engine == "local":
        return Pool(settings)
    cluster = ClusterEngine(settings)
    if settings.engine_fallback == "local":
        return WithFallback(cluster, Pool(settings))
    return cluster

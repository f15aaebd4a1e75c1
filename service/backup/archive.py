"""What lies in a backup: pictures and originals, each written once, and a list of each run.

``pictures/<first two letters>/<id>/<version>.tar``  a picture: ``facts.json``, ``stream.cmps``, its alpha
planes, and ``SHA256SUMS`` of all these, as sha256sum writes them ``originals/<sha256>``
an upload as it came ``runs/<time>.jsonl.gz``                            which versions there were, a line for
each picture; written last

The version follows from facts and header, whose checksums cover the rest: what did not change has its name
already. Only a run whose list is there counts, so one that was broken off is merely begun again, and every
list is a whole backup of its time.
"""

import gzip
import json
import re
import tarfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from zlib import error as ZlibError

from pydantic import TypeAdapter, ValidationError

from model.errors import StreamError
from model.stream.container import verify
from service.errors import DamagedStream, NotFound, ServiceError
from service.planning.identity import is_picture_id
from service.storage.objects import Objects
from service.storage.records import Record, assemble, check_alpha, write_facts

FORMAT = 1
_RUNS, _STAMP = "runs", "%Y-%m-%dT%H-%M-%S.%fZ"
_RUN = re.compile(r"runs/([0-9T.-]+Z)\.jsonl\.gz")
_FACTS, _STREAM, _SUMS = "facts.json", "stream.cmps", "SHA256SUMS"


class NoBackup(ServiceError):
    """There is no complete backup here, or its list is damaged."""

    status, title = 500, "No backup"


@dataclass(frozen=True)
class Entry:
    """A picture in a run's list: its version, and the digest of its original, if it has any."""

    picture: str
    version: str
    original: str = ""

    @property
    def key(self) -> str:
        """Where it lies."""
        return f"pictures/{self.picture[:2]}/{self.picture}/{self.version}.tar"


@dataclass(frozen=True)
class Whole:
    """All of a stored picture, every checksum verified."""

    record: Record
    stream: bytes
    planes: tuple[bytes, ...]


_ENTRY = TypeAdapter(Entry)


def entry_of(record: Record) -> Entry:
    """The entry of a picture as it is stored now, wherever its layers lie."""
    name = sha256(_facts(record) + repr(record.header).encode())
    return Entry(record.id, name.hexdigest()[:40], record.facts.original)


def original_key(digest: str) -> str:
    """Where an original lies."""
    return f"originals/{digest}"


def pack(whole: Whole) -> bytes:
    """A picture as a tar file, the same bytes for the same picture."""
    members = {_FACTS: _facts(whole.record), _STREAM: whole.stream}
    members |= {f"alpha-{k}": plane for k, plane in enumerate(whole.planes)}
    sums = "".join(f"{sha256(data).hexdigest()}  {name}\n" for name, data in members.items())
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in {**members, _SUMS: sums.encode()}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, BytesIO(data))
    return out.getvalue()


def unpack(picture: str, data: bytes) -> Whole:
    """A picture out of its tar file, everything verified. Raises DamagedStream, UnknownFormat, or NotFound if
    its life is over.
    """
    members = _members(data)
    sums = members.pop(_SUMS, b"").decode("latin-1")
    right = {line[66:]: line[:64] for line in sums.splitlines()}
    if {name: sha256(content).hexdigest() for name, content in members.items()} != right:
        raise DamagedStream(f"the backup of {picture} does not fit its checksums")
    stream = members.get(_STREAM, b"")
    record = assemble(picture, members.get(_FACTS, b""), stream)
    planes = tuple(members.get(f"alpha-{k}", b"") for k in range(len(record.facts.alpha)))
    try:
        verify(stream)
    except StreamError as error:
        raise DamagedStream(f"the backup of {picture}: {error}") from error
    for k, plane in enumerate(planes):
        check_alpha(record, k, plane)
    return Whole(record, stream, planes)


def without_original(whole: Whole) -> Whole:
    """A picture whose upload is kept no more."""
    facts = replace(whole.record.facts, original="")
    return replace(whole, record=replace(whole.record, facts=facts))


async def runs(objects: Objects) -> list[str]:
    """The times of all complete runs, oldest first. Raises ObjectsUnavailable."""
    found = [_RUN.fullmatch(one.key) async for one in objects.list(_RUNS)]
    return sorted(match[1] for match in found if match)


async def write_run(objects: Objects, began: float, entries: Iterable[Entry]) -> str:
    """Write the list of a run; returns its time. Raises ObjectsUnavailable."""
    name = datetime.fromtimestamp(began, UTC).strftime(_STAMP)
    lines = [json.dumps({"format": FORMAT, "began": began})]
    lines += [json.dumps(asdict(entry)) for entry in entries]
    lines.append(json.dumps({"pictures": len(lines) - 1}))
    await objects.put(_run_key(name), gzip.compress("\n".join(lines).encode(), mtime=0))
    return name


async def read_run(objects: Objects, name: str) -> list[Entry]:
    """The list of a run. Raises NoBackup or ObjectsUnavailable."""
    try:
        first, *lines, last = gzip.decompress(await objects.get(_run_key(name))).splitlines()
        head = json.loads(first)
        if head["format"] != FORMAT:
            raise NoBackup(f"the backup of {name} is of format {head['format']}, which is not read here")
        entries = [_ENTRY.validate_json(line) for line in lines]
        if json.loads(last) != {"pictures": len(entries)}:
            raise ValueError
    except NotFound as error:
        raise NoBackup(f"there is no backup of {name}") from error
    except (ValueError, KeyError, TypeError, EOFError, OSError, ZlibError, ValidationError) as error:
        raise NoBackup(f"the list of the backup of {name} is damaged") from error
    return [entry for entry in entries if is_picture_id(entry.picture)]


async def delete_run(objects: Objects, name: str) -> None:
    """Delete the list of a run, so that it counts no more. Raises ObjectsUnavailable."""
    await objects.delete(_run_key(name))


async def contents(objects: Objects) -> AsyncIterator[tuple[str, float]]:
    """The keys of all pictures and originals, and when each was written, in seconds since 1970."""
    for folder in ("pictures", "originals"):
        async for one in objects.list(folder):
            yield one.key, one.written


def _facts(record: Record) -> bytes:
    """Facts as they are saved: of a picture that is whole, so none of its layers lies elsewhere."""
    return write_facts(replace(record.facts, cold=None)).encode()


def _run_key(name: str) -> str:
    return f"{_RUNS}/{name}.jsonl.gz"


def _members(data: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=BytesIO(data), mode="r:") as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is not None:
                    found[member.name] = content.read()
    except (tarfile.TarError, ValueError, OSError) as error:
        raise DamagedStream("it is not a backup of a picture") from error
    return found

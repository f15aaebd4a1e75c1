"""What becomes of uploads that are answered before they are kept: ``compass:job:<token>``, which end.

A job's state is written anew every few seconds as long as its process lives. If that dies, the state is gone
soon after, and whoever asks is told that there is no such job: the picture was perhaps not kept, and may be
sent again, because the same upload is stored once. Nothing depends on a state but those who ask for it.
"""

import json
import re
import secrets
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from service.errors import NotFound
from service.storage.errands import Errands, raw

ALIVE_SECONDS = 20.0
"""A job under way is believed so long after it was last told of."""
KEPT_SECONDS = 600.0
"""What became of a job can be asked for so long."""

State = Literal["working", "stored", "failed"]
Stage = Literal["waiting", "coding", "storing", "done"]

_TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Failure:
    """Why a picture was not kept, as the client would have been told at once."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    status: Annotated[int, Field(ge=400, le=599)]
    title: str
    detail: str


@dataclass(frozen=True)
class JobState:
    """How far an upload is: ``percent`` of the work, ``picture`` its id once it is stored."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    state: State
    stage: Stage
    percent: Annotated[int, Field(ge=0, le=100)]
    picture: Annotated[str, Field(pattern=r"^[a-z2-7]{32}$")] | None = None
    failure: Failure | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state != "working"


_STATES = TypeAdapter(JobState)


def new_job() -> str:
    """The name of a new job, which nobody can guess."""
    return secrets.token_hex(16)


class JobBoard:
    """Where the jobs of all services of one store are told. Raises StoreUnavailable or StoreFull."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands

    async def tell(self, job: str, state: JobState) -> None:
        """Write how far a job is."""
        seconds = KEPT_SECONDS if state.over else ALIVE_SECONDS
        text, key = json.dumps(asdict(state)), _key(job)
        await self._errands.change(key, lambda client: client.set(key, text, px=round(1000 * seconds)))

    async def ask(self, job: str) -> JobState:
        """How far a job is. Raises NotFound for one that is over for long, was lost, or never was."""
        if _TOKEN.fullmatch(job) is None:
            raise NotFound("no such job")
        key = _key(job)
        text = raw(await self._errands.read(key, lambda client: client.get(key)))
        try:
            return _STATES.validate_json(text)
        except ValidationError:  # nothing is there, or nothing of ours
            raise NotFound(
                "no such job: it was over long ago, or its service has ended; send the picture again"
            ) from None


def _key(job: str) -> str:
    return f"compass:job:{job}"

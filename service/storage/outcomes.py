"""What became of stored pictures that were worked on: of each of them, and of all together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

from service.client.folder import in_words

E = TypeVar("E", bound=str)


@dataclass(frozen=True)
class Outcome(Generic[E]):
    """What became of a picture: ``before`` and ``after`` are bytes stored, ``seconds`` of CPU."""

    picture: str
    ending: E
    before: int = 0
    after: int = 0
    seconds: float = 0.0


@dataclass
class Sum:
    """What was done: pictures by how they ended, bytes of those that were changed, CPU seconds."""

    CHANGED: ClassVar[str]
    """The ending of pictures that were changed."""
    VERB: ClassVar[str]
    """What was done to them, as in "3 pictures refined"."""
    OTHERS: ClassVar[Mapping[str, str]]
    """What is said of pictures that ended otherwise, by ending."""

    endings: Counter[str] = field(default_factory=Counter)
    before: int = 0
    after: int = 0
    seconds: float = 0.0

    def add(self, outcome: Outcome[E]) -> None:
        """One more picture."""
        self.endings[outcome.ending] += 1
        self.seconds += outcome.seconds
        if outcome.ending == self.CHANGED:
            self.before += outcome.before
            self.after += outcome.after

    @property
    def saved(self) -> int:
        """Bytes that the pictures are smaller; less than 0 if they are larger."""
        return self.before - self.after

    def __str__(self) -> str:
        share = 100 * self.saved / self.before if self.before else 0
        text = f"{self.endings[self.CHANGED]} pictures {self.VERB}: {in_words(self.after)} of"
        text += f" {in_words(self.before)}, {in_words(self.saved)} ({share:.1f} %) saved"
        text += f" in {self.seconds:.0f} CPU seconds"
        return text + "".join(
            f"; {self.endings[how]} {what}" for how, what in self.OTHERS.items() if self.endings[how]
        )

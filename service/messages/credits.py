"""Whose a picture is: the metadata that may be kept of an upload and given back in answers."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field

MOST_SIGNS = 500
"""What is longer is cut off, in characters."""

Text = Annotated[str, Field(max_length=MOST_SIGNS)]


@dataclass(frozen=True)
class Credits:
    """Creator, copyright notice and credit line, each "" where the upload says nothing."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    creator: Text = ""
    copyright: Text = ""
    credit: Text = ""

    def __bool__(self) -> bool:
        return bool(self.creator or self.copyright or self.credit)


NOBODY = Credits()
"""Nothing is said."""

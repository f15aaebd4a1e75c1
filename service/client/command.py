"""The command ``compass import``, which the client's own distribution installs as ``compass-import``.

Exit codes: 0 everything is stored, 1 something is not, 2 wrong usage, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from service.client.api import Client, ClientError, Coding
from service.client.arguments import add_wishes, whole
from service.client.folder import Tally, import_folder


def main(argv: Sequence[str] | None = None, name: str | None = None) -> int:
    """Upload a folder as the arguments say; returns the exit code. The help calls the command ``name``."""
    options = _parser(name).parse_args(argv)

    def work() -> Tally:
        with Client(options.url, os.environ.get("COMPASS_API_KEY")) as client:
            return import_folder(client, options.folder, options.jobs, **coding_of(options))

    return told(options.folder, work)


def coding_of(options: argparse.Namespace) -> Coding:
    """The keywords of uploads that the arguments of :func:`add_coding` tell."""
    return cast(Coding, {name: getattr(options, name) for name in Coding.__annotations__})


def add_coding(parser: argparse.ArgumentParser) -> None:
    """What is uploaded, and how."""
    parser.add_argument("folder", type=Path)
    add_wishes(parser)


def told(folder: Path, work: Callable[[], Tally]) -> int:
    """Import a folder, and say what came of it; returns the exit code."""
    try:
        if not folder.is_dir():
            raise NotADirectoryError(None, "not a folder", str(folder))
        tally = work()
    except KeyboardInterrupt:
        return 130
    except ClientError as error:
        print(f"compass: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"compass: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    print(tally)
    if tally.interrupted:
        return 130
    return 1 if tally.failed else 0


def _parser(name: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=name,
        description="Upload the pictures of a folder; the same command goes on where it stopped.",
        epilog="An API key is taken from the environment variable COMPASS_API_KEY.",
    )
    add_coding(parser)
    parser.add_argument("--url", default="http://localhost:8000", help="the service (default: %(default)s)")
    parser.add_argument("--jobs", type=whole, default=2, help="uploads at once (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""``compass import --engine``: a folder put into the store itself, coded by workers of this machine or of a
cluster, without a service in between.

Exit codes as those of :mod:`service.client.command`.
"""

import argparse
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from service.client.arguments import whole
from service.client.command import add_coding, coding_of, told
from service.client.folder import Tally, import_folder
from service.engine.choice import workers_of
from service.errors import ServiceError
from service.importing.direct import direct
from service.settings import Settings


def main(argv: Sequence[str]) -> int:
    """Import a folder as the arguments say; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        settings = Settings(engine=options.engine)
    except ValidationError as error:
        for item in error.errors():
            print(f"compass: {item['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        return 1

    def work() -> Tally:
        with direct(settings) as uploads:
            jobs = options.jobs or 2 * workers_of(settings)
            return import_folder(uploads, options.folder, jobs, **coding_of(options))

    try:
        return told(options.folder, work)
    except ServiceError as error:
        print(f"compass: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compass import",
        description="Put the pictures of a folder into the store that the settings name, without a service; "
        "the same command goes on where it stopped.",
    )
    add_coding(parser)
    parser.add_argument("--engine", choices=("local", "ray"), required=True, help="who codes them")
    parser.add_argument("--jobs", type=whole, help="pictures at once; unset: two for each worker")
    return parser

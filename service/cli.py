"""The command ``compass``. Heavy imports happen inside the commands, so that each starts fast.

Exit codes: 0 done, 1 it failed, 2 wrong usage, 3 ``fsck`` found damage, or a backup lacks something.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from service.client.arguments import add_wishes, quality, whole, widths
from service.errors import CommandError, ServiceError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["train"]:
        from model.training.cli import main as train

        train(arguments[1:])
        return 0
    if arguments[:1] == ["export"]:
        from model.training.export import main as export

        export(arguments[1:])
        return 0
    if arguments[:1] == ["import"]:
        return _import(arguments[1:])
    options = _parser().parse_args(arguments)
    from pydantic import ValidationError

    from model.errors import CompassError
    from service.client.api import ClientError

    try:
        return int(options.run(options) or 0)
    except KeyboardInterrupt:
        return 130
    except ValidationError as error:
        for item in error.errors():
            setting = f"COMPASS_{str(item['loc'][0]).upper()}: " if item["loc"] else ""
            print(f"compass: {setting}{item['msg'].removeprefix('Value error, ')}", file=sys.stderr)
    except (CommandError, ClientError, CompassError, ServiceError) as error:
        print(f"compass: {error}", file=sys.stderr)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"compass: {name}{error.strerror or error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compass",
        description="A learned, spatially scalable image codec, and the image server around it.",
    )
    parser.add_argument("--version", action="version", version=f"compass {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    encode = commands.add_parser("encode", help="code a picture as a COMPASS stream")
    encode.add_argument("picture", type=Path, help="any picture that can be uploaded; -: standard input")
    encode.add_argument("stream", type=Path, help="file to write, such as out.cmps; -: standard output")
    encode.add_argument("--widths", type=widths, help="layer widths in pixels, such as 320,640,1280")
    encode.add_argument("--quality", type=quality, help="1-100")
    encode.add_argument(
        "--effort",
        choices=("none", "fast", "best"),
        default="none",
        help="search for fewer bytes at the same quality: some 25, or 75, seconds of a core per megapixel",
    )
    encode.add_argument("--seconds", type=whole, help="end the search after so many, with what it has")
    encode.set_defaults(run=_encode)

    decode = commands.add_parser("decode", help="decode a stream, or the first part of one")
    decode.add_argument("stream", type=Path, help="-: standard input")
    decode.add_argument(
        "picture", type=Path, help="file to write: .png, .jpg, .webp or .avif; -: standard output"
    )
    decode.add_argument("--format", choices=("png", "jpeg", "webp", "avif"), help="unset: by the file's name")
    decode.add_argument("--width", type=whole, help="pixels; only the layers it needs are decoded")
    decode.add_argument("--quality", type=quality, default=90, help="output quality, not of PNG")
    decode.set_defaults(run=_decode)

    info = commands.add_parser("info", help="say what a stream holds, and check it")
    info.add_argument("stream", type=Path, help="-: standard input")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=_info)

    serve = commands.add_parser("serve", help="run the image server")
    serve.add_argument("--host", help="address to listen on (COMPASS_HOST)")
    serve.add_argument("--port", type=int, help="port to listen on (COMPASS_PORT)")
    serve.set_defaults(run=_serve)

    settings = commands.add_parser("settings", help="print every setting")
    settings.add_argument("--markdown", action="store_true", help="as docs/settings.md")
    settings.set_defaults(run=_settings)

    fsck = commands.add_parser("fsck", help="check every picture in the store")
    fsck.add_argument("--delete", action="store_true", help="delete damaged pictures")
    fsck.set_defaults(run=_fsck)

    models = commands.add_parser(
        "models", help="say which weights are installed, and how many stored pictures need each"
    )
    models.set_defaults(run=_models)

    refine = commands.add_parser(
        "refine", help="make stored pictures smaller, as COMPASS_REFINE does in the background"
    )
    refine.add_argument("pictures", nargs="*", metavar="ID", help="pictures; none: all that wait")
    refine.add_argument(
        "--effort", choices=("fast", "best"), help="unset: that of COMPASS_REFINE, best where that is off"
    )
    refine.add_argument(
        "--from", dest="folder", type=Path, metavar="FOLDER", help="refine what was uploaded from a folder"
    )
    add_wishes(refine, "with --from, of the uploads: ")
    _add_engine(refine)
    refine.set_defaults(run=_refine)

    where = "a folder, file:///folder or s3://bucket/prefix"
    backup = commands.add_parser(
        "backup", help="save what is new or changed in the running store, streams and originals"
    )
    backup.add_argument("place", help=f"where to: {where}")
    backup.add_argument("--since", metavar="TIME", help="look no further back than uploads of that time")
    backup.add_argument(
        "--keep", type=whole, metavar="N", help="then delete what the last N runs do not need"
    )
    backup.set_defaults(run=_backup)

    restore = commands.add_parser("restore", help="bring back what a backup has and the store has not")
    restore.add_argument("place", help=f"where from: {where}")
    restore.add_argument("--at", metavar="RUN", default="", help="the last run until then; unset: the last")
    restore.add_argument("--check", action="store_true", help="read and verify the backup, and write nothing")
    restore.set_defaults(run=_restore)

    recode = commands.add_parser(
        "recode", help="code pictures of older models anew with the current one, from their originals"
    )
    recode.add_argument("pictures", nargs="*", metavar="ID", help="pictures; none: all of older models")
    recode.add_argument(
        "--from-layers",
        action="store_true",
        help="code pictures without an original from the largest layer stored: they lose a little",
    )
    recode.add_argument("--per-minute", type=whole, help="pictures a minute at most; unset: no limit")
    _add_engine(recode)
    recode.set_defaults(run=_recode)

    sign = commands.add_parser(
        "sign", help="sign a picture's URL, whole or its path, with the first of COMPASS_URL_KEYS"
    )
    sign.add_argument("url", help="such as '/images/ID?width=640'")
    sign.add_argument("--seconds", type=whole, help="how long it is valid; unset: for ever")
    sign.set_defaults(run=_sign)

    commands.add_parser(
        "import", help="upload the pictures of a folder; go on where it stopped", add_help=False
    )
    commands.add_parser("train", help="train the network (compass train --help)", add_help=False)
    commands.add_parser(
        "export", help="weight file of a training run (compass export --help)", add_help=False
    )
    return parser


def _import(arguments: Sequence[str]) -> int:
    """By way of a service, as the client's own distribution does it; or, with an engine, without one."""
    from service.client.command import main as by_http

    if not any(argument.partition("=")[0] == "--engine" for argument in arguments):
        return by_http(arguments, "compass import")
    from service.importing.command import main as directly

    return directly(arguments)


def _add_engine(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--engine",
        choices=("local", "ray"),
        help="who works: this machine, or the cluster at COMPASS_RAY_ADDRESS; unset: as COMPASS_ENGINE says",
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("compass-images")
    except PackageNotFoundError:
        return "0"


def _encode(options: argparse.Namespace) -> int:
    from service.files import encode

    return encode(options)


def _decode(options: argparse.Namespace) -> int:
    from service.files import decode

    return decode(options)


def _info(options: argparse.Namespace) -> int:
    from service.files import info

    return info(options)


def _serve(options: argparse.Namespace) -> int:
    from service.server import serve
    from service.settings import Settings

    given = {name: getattr(options, name) for name in ("host", "port") if getattr(options, name) is not None}
    return 0 if serve(Settings(**given)) else 1


def _settings(options: argparse.Namespace) -> int:
    from service.settings import Settings, as_markdown

    if options.markdown:
        print(as_markdown(), end="")
        return 0
    for name, value in Settings():
        shown = ",".join(str(v) for v in value) if isinstance(value, tuple) else value
        print(f"COMPASS_{name.upper()}={'' if shown is None else shown}")
    return 0


def _fsck(options: argparse.Namespace) -> int:
    from service.storage.fsck import run

    return run(options.delete)


def _models(_: argparse.Namespace) -> int:
    from service.storage.models import run

    return run()


def _refine(options: argparse.Namespace) -> int:
    from service.refining.command import run

    return run(options)


def _backup(options: argparse.Namespace) -> int:
    from service.backup.command import backup

    return backup(options)


def _restore(options: argparse.Namespace) -> int:
    from service.backup.command import restore

    return restore(options)


def _recode(options: argparse.Namespace) -> int:
    from service.recoding.command import run

    return run(options)


def _sign(options: argparse.Namespace) -> int:
    import time

    from service.client.signing import sign
    from service.settings import Settings

    keys = Settings().url_keys
    if not keys:
        raise CommandError("COMPASS_URL_KEYS is not set")
    origin, path, query = _signable(options.url)
    expires = int(time.time()) + options.seconds if options.seconds else None
    print(f"{origin}{path}?{sign(path, query, keys[0].get_secret_value(), expires)}")
    return 0


def _signable(url: str) -> tuple[str, str, str]:
    """Origin ("" for a path alone), path and query of what a signature can open. Raises CommandError."""
    found = re.fullmatch(r"(https?://[^/?#\s]+)?(/(?:images|iiif/3)/[!-~]+|/images(?:\?[!-~]*)?)", url)
    if found is None or "#" in url:
        raise CommandError(
            f"cannot sign {url!r}: URLs of pictures begin with /images or /iiif/3/, are percent-encoded "
            "and have no fragment"
        )
    path, _, query = found[2].partition("?")
    return found[1] or "", path, query


if __name__ == "__main__":
    sys.exit(main())

"""The files of a folder of photographs: which are trained on, and which validation has. No torch."""

from pathlib import Path

SUFFIXES = {".avif", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
HELD_OUT = 16
"""Pictures that validation has, and training has not."""


def held_out_paths(folder: Path, count: int = HELD_OUT) -> tuple[list[Path], list[Path]]:
    """The picture files below ``folder``: (those to train on, ``count`` for validation).

    The latter are spread evenly over the sorted names. Raises ValueError if that leaves none to train on.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if len(paths) <= count:
        raise ValueError(f"{len(paths)} pictures below {folder}; more than {count} are needed")
    step = -(-len(paths) // count)
    return [path for number, path in enumerate(paths) if number % step], paths[::step]

"""Presets: names for how pictures are shown, such as ``card`` for 480 pixels wide and cut to a square."""

import re
from collections.abc import Mapping

from service.errors import BadParameter

Presets = Mapping[str, Mapping[str, str]]
"""Query parameters by name, by preset."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def parse_presets(text: str) -> Presets:
    """Presets as the setting writes them: ``card:width=480,height=480,fit=cover;hero:width=1600``.

    What the parameters mean is not looked at here. Raises BadParameter for a preset without a name or
    parameters, and for one that is there twice.
    """
    presets: dict[str, dict[str, str]] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, rest = (piece.strip() for piece in part.partition(":"))
        if not _NAME.fullmatch(name):
            raise BadParameter(f"COMPASS_PRESETS: {part!r} does not begin with a name and a colon")
        if name in presets:
            raise BadParameter(f"COMPASS_PRESETS: preset {name} is there twice")
        presets[name] = {}
        for pair in rest.split(","):
            parameter, _, value = (piece.strip() for piece in pair.partition("="))
            if not parameter or not value or parameter in presets[name]:
                raise BadParameter(f"COMPASS_PRESETS: preset {name}: {rest!r} is no list as in width=1,q=5")
            presets[name][parameter] = value
    return presets

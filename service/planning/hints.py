"""Client hints: what a browser says of its screen and its wishes, where the URL does not say it.

``Sec-CH-DPR``, ``Sec-CH-Width`` (the width in device pixels at which the page shows the picture) and
``Save-Data: on``. What could have changed an answer belongs into its ``Vary``, whether it was sent or not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from model.stream.container import MAX_EDGE
from service.planning.sizing import Wanted

DPR = "Sec-CH-DPR"
WIDTH = "Sec-CH-Width"
SAVE_DATA = "Save-Data"
NAMES = (DPR, WIDTH, SAVE_DATA)
LEAST_DPR, MOST_DPR = 0.1, 5.0
"""Device pixels per CSS pixel that may be asked for."""


@dataclass(frozen=True)
class Hinted:
    """What is wanted, hints included; ``saving``: in fewer bytes; ``vary``: headers that could change it."""

    wanted: Wanted
    saving: bool = False
    vary: tuple[str, ...] = ()


def hinted(wanted: Wanted, dpr_given: bool, quality_given: bool, headers: Mapping[str, str]) -> Hinted:
    """Fill in from the headers of a request what its URL leaves open.

    A width is taken from Sec-CH-Width where the URL names neither width, height nor layer, and a DPR from
    Sec-CH-DPR where it names a width or height in CSS pixels but no DPR. Save-Data counts where it names no
    output quality. What is not a number in range is as if it had not been sent, as RFC 8942 wants.
    """
    vary = []
    if wanted.layer is None and not wanted.width and not wanted.height:
        vary.append(WIDTH)
        width = _number(headers.get(WIDTH), 1, MAX_EDGE)
        if width is not None:  # in device pixels already, whatever the URL says of the DPR
            wanted = replace(wanted, width=math.ceil(width), dpr=1.0)
    elif wanted.layer is None and not dpr_given:
        vary.append(DPR)
        wanted = replace(wanted, dpr=_number(headers.get(DPR), LEAST_DPR, MOST_DPR) or wanted.dpr)
    saving = False
    if not quality_given:
        vary.append(SAVE_DATA)
        saving = headers.get(SAVE_DATA, "").strip().lower() == "on"
    return Hinted(wanted, saving, tuple(vary))


def _number(text: str | None, least: float, most: float) -> float | None:
    """A header's number within these bounds, else None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if least <= value <= most else None

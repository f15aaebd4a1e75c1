"""What the publication reports for its network: the largest layer's BD-rate in %, by the layers' factors.

Against its own base layer coding the largest size alone (single layer) and every size in a file of its own
(simulcast), on Kodak: Tables 2 and 3 of the paper, Tables 5 to 9 of the supplement.
"""

from typing import NamedTuple


class Reported(NamedTuple):
    """BD-rates of the publication's streams in %."""

    single_layer: float
    simulcast: float


Rows = dict[tuple[float, ...], Reported]
"""By the layers' factors, the smallest first."""


def _three_layers(middle: float, single_layer: list[float], simulcast: list[float]) -> Rows:
    """A table of ladders 1 : ``middle`` : 2.4, 2.8, 3.2, 3.6 and 4."""
    rows = zip((2.4, 2.8, 3.2, 3.6, 4.0), single_layer, simulcast, strict=True)
    return {(1, middle, largest): Reported(*rates) for largest, *rates in rows}


REPORTED: Rows = {
    (1, 1.2): Reported(-8.19, -44.04),
    (1, 1.6): Reported(-3.7, -31.4),
    (1, 2.0): Reported(8.8, -16.29),
    (1, 2.4): Reported(0.31, -16.35),
    (1, 2.8): Reported(0.94, -12.38),
    **_three_layers(1.2, [-1.32, -1.49, -0.34, 0.64, 6.47], [-34.75, -29.16, -24.11, -20.03, -12.23]),
    **_three_layers(1.4, [-1.88, -1.67, -0.83, -0.14, 5.68], [-38.69, -32.53, -27.45, -23.35, -15.44]),
    **_three_layers(1.6, [-3.13, -2.44, -1.33, -0.66, 4.9], [-42.84, -36.22, -30.74, -26.43, -18.61]),
    **_three_layers(1.8, [-5.34, -3.18, -1.65, -0.9, 4.53], [-47.71, -40.15, -34.24, -29.65, -21.82]),
    **_three_layers(2, [-6.6, -4.23, -1.25, -0.74, 4.74], [-49.85, -42.2, -35.33, -30.81, -22.9]),
    (1, 2, 4.5): Reported(6.77, -21.24),
    (1, 2, 5.0): Reported(7.77, -19.94),
    (1, 2, 5.5): Reported(8.99, -18.52),
    (1, 2, 6.0): Reported(8.76, -17.85),
}

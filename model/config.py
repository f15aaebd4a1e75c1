"""The network's sizes: one dataclass, two profiles."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from model.errors import WeightsError


@dataclass(frozen=True)
class Config:
    """Everything that decides the shape of the network. Names in parentheses are the paper's.

    ``channels`` (N) and ``latents`` (M) size both hyperpriors, ``hyper_channels`` (J) the stages of their
    hyper-synthesis (M in the paper); ``features`` (C), ``blocks``, ``convs`` and ``growth`` the
    residual dense network of LIFF; ``hidden`` and ``hidden_layers`` its filter MLP. ``details`` (D) of
    the latents are a linear transform of what the others leave (none in the paper): few channels cannot
    carry a picture of high quality. ``bicubic_skip`` adds the bicubic enlargement to LIFF's prediction
    (off in the paper). ``levels`` gain vectors cover the Lagrange multipliers
    ``lambda_low`` to ``lambda_high`` geometrically.
    """

    channels: int = 128
    latents: int = 192
    hyper_channels: int = 192
    details: int = 0
    features: int = 64
    blocks: int = 4
    convs: int = 4
    growth: int = 32
    hidden: int = 256
    hidden_layers: int = 4
    bicubic_skip: bool = True
    levels: int = 6
    lambda_low: float = 0.0018
    lambda_high: float = 0.05

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Config":
        """The inverse of :meth:`to_dict`; raises WeightsError on unknown or mistyped fields.

        Where ``hyper_channels`` are missing, as in the first files, they are as many as the latents.
        """
        types = {f.name: f.type for f in fields(cls)}
        if not isinstance(values, dict):
            raise WeightsError(f"no configuration: {values!r}")
        if "latents" in values:
            values = {"hyper_channels": values["latents"], **values}
        for name, value in values.items():
            fits = type(value) is types.get(name) or (type(value) is int and types.get(name) is float)
            if not fits or value < 0 or (value == 0 and types[name] is not bool and name != "details"):
                raise WeightsError(f"configuration field {name!r} = {value!r}")
        config = cls(**values)
        if config.details >= config.latents:
            raise WeightsError(f"{config.details} details of {config.latents} latents")
        return config


PROFILES = {
    "paper": Config(),
    "lite": Config(
        channels=48,
        latents=192,
        hyper_channels=96,
        details=96,
        features=16,
        blocks=2,
        convs=2,
        growth=16,
        hidden=16,
        hidden_layers=2,
    ),
}
"""``paper``: the widths of the publication, for GPUs. ``lite``: for CPUs."""

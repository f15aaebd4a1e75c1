"""Training checkpoints: one safetensors file with weights, optimiser state and position."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.errors import WeightsError
from model.network.compass import Compass
from model.training.average import Average
from model.training.wider import widened

_OLDER_STATE = {"mean": "exp_avg", "square": "exp_avg_sq"}
"""How this project's own Adam, until 2026-11-25, named what torch's Adam keeps."""


@dataclass
class Checkpoint:
    """What a run needs to go on.

    ``weights`` are those to be used; where they are a moving average, ``latest`` holds those that
    training goes on from. ``optimiser`` by parameter; ``progress`` 0 to 1 of the time box of the
    stage in ``recipe``; ``history``: the stages trained so far, this one included; ``origin``: model ids
    of the files that the stage began with, "" for none: its weights, its base layer.
    """

    weights: dict[str, Tensor]
    latest: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    generator: Tensor | None
    config: dict[str, Any]
    recipe: dict[str, Any]
    step: int
    progress: float
    history: tuple[str, ...] = ()
    origin: tuple[str, ...] = ("", "")

    @classmethod
    def of(
        cls,
        network: Compass,
        average: Average | None,
        optimisers: Sequence[torch.optim.Optimizer],
        generator: torch.Generator,
        config: Any,
        recipe: dict[str, Any],
        step: int,
        progress: float,
        history: tuple[str, ...],
        origin: tuple[str, ...],
    ) -> "Checkpoint":
        """A snapshot of a run."""
        names: dict[Tensor, str] = {p: n for n, p in network.named_parameters()}
        states = {
            f"{names[p]}|{key}": value.detach()
            for optimiser in optimisers
            for p, state in optimiser.state.items()
            for key, value in state.items()
        }
        weights = {k: v.detach() for k, v in network.state_dict().items() if v.numel()}
        averaged = average.values if average else {}
        return cls(
            weights | averaged,
            {name: weights[name] for name in averaged},
            states,
            generator.get_state(),
            config.to_dict(),
            recipe,
            step,
            progress,
            history,
            origin,
        )

    def restore(
        self,
        network: Compass,
        average: Average | None,
        optimisers: Sequence[torch.optim.Optimizer],
        generator: torch.Generator,
    ) -> None:
        """Put network, average, optimisers and random state where they were."""
        network.load_state_dict(self.weights | self.latest, strict=False)
        if average is not None:
            average.restore(self.weights)
        parameters = dict(network.named_parameters())
        owner = {p: o for o in optimisers for group in o.param_groups for p in group["params"]}
        for key, value in self.optimiser.items():
            name, field = key.split("|")
            parameter = parameters[name]
            state = owner[parameter].state[parameter]
            state[_OLDER_STATE.get(field, field)] = value.to(parameter.device)
        if self.generator is not None:
            generator.set_state(self.generator)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``; a crash leaves the old file whole."""
    tensors = {f"weights.{k}": v.cpu().contiguous() for k, v in checkpoint.weights.items()}
    tensors |= {f"latest.{k}": v.cpu().contiguous() for k, v in checkpoint.latest.items()}
    tensors |= {f"optimiser.{k}": v.cpu().contiguous() for k, v in checkpoint.optimiser.items()}
    if checkpoint.generator is not None:
        tensors["generator"] = checkpoint.generator.cpu()
    meta = {
        "config": checkpoint.config,
        "recipe": checkpoint.recipe,
        "step": checkpoint.step,
        "progress": checkpoint.progress,
        "history": checkpoint.history,
        "origin": checkpoint.origin,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({k: v.clone() for k, v in tensors.items()}, partial, {"run": json.dumps(meta)})
    partial.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, or the weights alone of a weight file; raises WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {}).get("run", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    return Checkpoint(
        {k.removeprefix("weights."): v.float() for k, v in tensors.items() if k.startswith("weights.")},
        {k.removeprefix("latest."): v for k, v in tensors.items() if k.startswith("latest.")},
        {k.removeprefix("optimiser."): v for k, v in tensors.items() if k.startswith("optimiser.")},
        tensors.get("generator"),
        meta.get("config", {}),
        meta.get("recipe", {}),
        meta.get("step", 0),
        meta.get("progress", 1.0),
        tuple(meta.get("history", ())),
        tuple(meta.get("origin", ("", ""))),
    )


def take_over(network: Compass, weights: dict[str, Tensor]) -> None:
    """Load every weight that the network has too, and print which it has not.

    A network whose hyperpriors are wider computes what the narrower one did (:mod:`model.training.wider`).
    """
    wanted = network.state_dict()
    weights = weights | widened(network, weights)
    fitting = {k: w for k, w in weights.items() if k in wanted and w.shape == wanted[k].shape}
    network.load_state_dict(fitting, strict=False)
    if len(fitting) < len(weights):
        print(f"not taken over: {sorted(set(weights) - set(fitting))}")


def take_over_base(network: Compass, weights: dict[str, Tensor]) -> None:
    """As :func:`take_over`, of the base layer's weights alone."""
    take_over(network, {name: weight for name, weight in weights.items() if name.startswith("base.")})

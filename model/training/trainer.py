"""The training loop: time-boxed, resumable, the same on CPU and CUDA."""

import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from model.config import Config
from model.network import Compass, channels_last
from model.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, take_over
from model.training.data import Pictures
from model.training.muon import MuonAdam
from model.training.network import TrainedHyperprior, initialise
from model.training.stages import Recipe, loss, trained_modules

WARMUP = 0.03
"""Share of the time box over which the learning rate rises; afterwards it falls as a cosine."""
FLOOR = 0.005
"""The last learning rate as a share of the highest."""
CLIP = 1.0
SAVE_SECONDS = 120
REPORT_STEPS = 50


def schedule(progress: float) -> float:
    """Factor on the learning rate at ``progress`` 0 to 1 of the time box."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.01)
    fall = min((progress - WARMUP) / (1 - WARMUP), 1.0)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * fall))


def train(
    config: Config,
    recipe: Recipe,
    minutes: float,
    pictures: tuple[Pictures, Pictures],
    checkpoint: Path,
    start: Path | None = None,
    log: Path | None = None,
    compile_network: bool = False,
    seed: int = 0,
) -> Compass:
    """Train one stage for ``minutes`` and return the network.

    An unfinished run of the same stage in ``checkpoint`` is continued where it stopped (weights,
    optimiser, random state, schedule); else the weights come from ``start`` or are new. Prints a
    progress bar, appends JSON lines to ``log``, and ends with the validation loss.
    """
    device = pictures[0].buffer.device
    network = channels_last(initialise(config, seed).to(device))
    before = load_checkpoint(start or checkpoint) if start or checkpoint.exists() else None
    resumed = before is not None and start is None and before.recipe == asdict(recipe) and before.progress < 1
    history: tuple[str, ...] = before.history if before else ()
    if before is not None:
        take_over(network, before.weights)
    if recipe.stage in ("residual", "joint") and not {"residual", "joint"} & set(history):
        network.enhancement.load_state_dict(network.base.state_dict())
    history += () if resumed else (recipe.stage,)
    network.requires_grad_(False)
    parameters: list[torch.nn.Parameter] = []
    quantiles: list[torch.nn.Parameter] = []
    for module in trained_modules(network, recipe.stage):
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(True)
            (quantiles if name.endswith("quantiles") else parameters).append(parameter)
    optimiser = MuonAdam(parameters, lr=recipe.lr)
    auxiliary = torch.optim.Adam(quantiles, lr=1e-3) if quantiles else None
    generator = torch.Generator(device).manual_seed(seed)
    step, done = 0, 0.0
    if before is not None and resumed:
        step, done = before.step, before.progress
        before.restore(network, optimiser, generator)
    precision = _autocast(device)
    compute: Callable = torch.compile(loss, dynamic=True) if compile_network else loss
    began, saved = time.monotonic(), time.monotonic()
    report = {"bpp": 0.0, "mse": 0.0, "loss": 0.0}
    network.train()
    with tqdm(total=100.0, initial=100 * done, desc=recipe.stage, unit="%", bar_format=_BAR) as bar:
        while True:
            progress = done + (time.monotonic() - began) / (60 * minutes)
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr * schedule(progress)
            with precision:
                losses = compute(network, recipe, pictures[0], generator)
            optimiser.zero_grad()
            losses.total.backward()
            norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            if torch.isfinite(norm):
                optimiser.step()
            if auxiliary is not None and step % 4 == 0:
                auxiliary.zero_grad()
                _quantile_loss(network, recipe.stage).backward()
                auxiliary.step()
            step += 1
            for name, value in (
                ("bpp", losses.bpp),
                ("mse", losses.mse),
                ("loss", float(losses.total.detach())),
            ):
                report[name] += value / REPORT_STEPS
            if step % REPORT_STEPS == 0:
                psnr = -10 * math.log10(report["mse"] + 1e-12)
                bar.set_postfix_str(
                    f"step {step} loss {report['loss']:.3f} {report['bpp']:.3f} bpp {psnr:.2f} dB"
                )
                bar.update(min(100 * progress, 100) - bar.n)
                _append(
                    log, {"stage": recipe.stage, "step": step, "progress": progress, "psnr": psnr, **report}
                )
                report = dict.fromkeys(report, 0.0)
            finished = progress >= 1
            if finished or time.monotonic() - saved > SAVE_SECONDS:
                run = asdict(recipe)
                state = Checkpoint.of(network, optimiser, generator, config, run, step, progress, history)
                save_checkpoint(checkpoint, state)
                saved = time.monotonic()
            if finished:
                break
    seconds = time.monotonic() - began
    final = validate(network, recipe, pictures[1])
    summary = {"stage": recipe.stage, "steps": step, "seconds": round(seconds), **final}
    _append(log, {"final": summary})
    print(json.dumps(summary))
    return network


_BAR = "{desc}: {percentage:3.1f}% |{bar}| {elapsed}<{remaining} {postfix}"


def validate(network: Compass, recipe: Recipe, pictures: Pictures) -> dict[str, float]:
    """Average losses over 32 fixed batches of the held-out pictures."""
    device = pictures.buffer.device
    generator = torch.Generator(device).manual_seed(1)
    torch.manual_seed(1)
    network.eval()
    with torch.no_grad():
        rows = [loss(network, recipe, pictures, generator) for _ in range(32)]
    network.train()
    return {
        "loss": sum(float(r.total) for r in rows) / len(rows),
        "bpp": sum(r.bpp for r in rows) / len(rows),
        "mse": sum(r.mse for r in rows) / len(rows),
    }


def _quantile_loss(network: Compass, stage: str) -> torch.Tensor:
    hyperprior = network.base if stage == "base" else network.enhancement
    assert isinstance(hyperprior, TrainedHyperprior)
    auxiliary: torch.Tensor = hyperprior.bottleneck.loss()
    return auxiliary


def _autocast(device: torch.device) -> AbstractContextManager:
    if device.type == "cuda" or _cpu_has_bfloat16():
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _cpu_has_bfloat16() -> bool:
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def _append(log: Path | None, row: dict) -> None:
    if log is not None:
        with log.open("a") as file:
            file.write(json.dumps(row) + "\n")

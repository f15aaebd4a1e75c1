"""Training: runs that are limited by time or steps, go on where they were broken off, and report.

    plan -> prepare -> Run: advance, advance, ... save ... -> finish: the network, its validation loss

The same on CPU and CUDA. A run of a number of steps, broken off and continued, ends with the weights of
a run in one go, to the last bit.
"""

import json
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace

import torch

from model.geometry import Size
from model.network.compass import Compass
from model.network.precision import matrix_dtype
from model.training.average import Average
from model.training.checkpoint import Checkpoint, save_checkpoint
from model.training.data import Pictures
from model.training.optimisers import Optimisers
from model.training.plan import Plan, prepare
from model.training.recorded import Recorded, Step
from model.training.report import Report, append
from model.training.speed import Speed
from model.training.stages import Batch, Losses, Recipe, draw, loss, spread_sizes

WARMUP = 0.03
"""Share of the run over which the learning rate rises; afterwards it falls as a cosine."""
FLOOR = 0.005
"""The last learning rate as a share of the highest."""
SAVE_SECONDS = 120
REPORT_STEPS = 50
VALIDATION_BATCHES = 32
RECORDED_SIZES = 32
"""On a GPU every step takes one of so many tuples of layers' sizes."""


def schedule(progress: float) -> float:
    """Factor on the learning rate at ``progress`` 0 to 1 of the run."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.01)
    fall = min((progress - WARMUP) / (1 - WARMUP), 1.0)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * fall))


def train(plan: Plan) -> Compass:
    """Train one stage and return the network, with the averaged weights if the recipe wants an average.

    Shows a progress bar, saves a checkpoint every two minutes, prints the validation loss at the end.
    Raises WeightsError for files to begin with that are no weights.
    """
    run = Run(plan)
    with Report(plan.recipe.stage, plan.log, run.progress) as report:
        while not run.finished:
            report.add(run.advance())
            if run.step % REPORT_STEPS == 0:
                report.tell(run.step, run.progress, run.speed)
            run.save_if_due()
    return run.finish()


class Run:
    """A run of training: new, or continued from its checkpoint.

    ``step`` counts the steps of the stage, those before a break included; ``progress`` 0 to 1 is the share
    of the minutes or steps that are over, whichever is larger.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        beginning = prepare(plan)
        self.network = beginning.network
        self._history, self._origin = beginning.history, beginning.origin
        self._optimisers = Optimisers(self.network, plan.recipe)
        decay = plan.recipe.average
        self._average = Average(self._optimisers.trained, decay) if decay else None
        self._generator = torch.Generator().manual_seed(plan.seed)
        self.step, self.progress = 0, 0.0
        if beginning.unfinished is not None:
            saved = beginning.unfinished
            self.step, self.progress = saved.step, saved.progress
            saved.restore(self.network, self._average, self._optimisers.all, self._generator)
        self._sizes: list[tuple[Size, ...]] = []
        self._step: Step = self._train_on
        if plan.device.type == "cuda":
            self._sizes = spread_sizes(plan.recipe, RECORDED_SIZES, plan.seed)
            self._step = Recorded(self._train_on)
        self._dtype = matrix_dtype(plan.device)
        self.speed = Speed(plan.device, self._dtype)
        self.network.train()
        self._first_step, self._first_progress = self.step, self.progress
        self._began = self._saved = time.monotonic()

    @property
    def finished(self) -> bool:
        """Whether the minutes or steps are over."""
        return self.progress >= 1

    def advance(self) -> Losses:
        """Train on one batch."""
        self._optimisers.set_rate(schedule(self.progress))
        seed = torch.randint(2**31, (), generator=self._generator)
        torch.manual_seed(int(seed))  # of the noise, and the same after a break
        batch = self._draw()
        counted = self.step == self._first_step or (not self._sizes and self.step % REPORT_STEPS == 0)
        with self.speed.counted() if counted else nullcontext():
            losses = self._step(batch)
        self._optimisers.step_quantiles(self.step)
        self.step += 1
        if self._average is not None:
            self._average.update(self.step)
        minutes = (time.monotonic() - self._began) / 60
        by_time = self._first_progress + minutes / self.plan.minutes
        self.progress = max(by_time, self.step / self.plan.steps)
        return losses

    def save(self) -> None:
        """Write the checkpoint: the same plan goes on from it."""
        state = Checkpoint.of(
            self.network,
            self._average,
            self._optimisers.all,
            self._generator,
            self.plan.config,
            asdict(self.plan.recipe),
            self.step,
            self.progress,
            self._history,
            self._origin,
        )
        save_checkpoint(self.plan.checkpoint, state)

    def save_if_due(self) -> None:
        """Write the checkpoint if the last one is two minutes old and the run is not over."""
        now = time.monotonic()
        if not self.finished and now - self._saved > SAVE_SECONDS:
            self.save()
            self._saved = now

    def finish(self) -> Compass:
        """Save, put the average in the weights' place, validate, log and print what came of it."""
        seconds = time.monotonic() - self._began
        self.save()
        if self._average is not None:
            self._average.apply()
        summary = {
            "stage": self.plan.recipe.stage,
            "steps": self.step,
            "seconds": round(seconds),
            **self.speed.of(self.step - self._first_step, seconds),
            **validate(self.network, self.plan.recipe, self.plan.pictures[1]),
        }
        append(self.plan.log, {"final": summary})
        print(json.dumps(summary))
        return self.network

    def _draw(self) -> Batch:
        """A random batch; on a GPU of layers whose sizes are among the few that are recorded."""
        recipe, pictures, generator = self.plan.recipe, self.plan.pictures[0], self._generator
        sizes = None
        if self._sizes:
            sizes = self._sizes[int(torch.randint(len(self._sizes), (), generator=generator))]
        return draw(self.network, recipe, pictures, generator, sizes)

    def _train_on(self, batch: Batch) -> Losses:
        """One step on a batch, in bfloat16 where the device is fast at it."""
        with _autocast(self.plan.device, self._dtype):
            losses = loss(self.network, self.plan.recipe, batch)
        self._optimisers.step(losses.total)
        return replace(losses, total=losses.total.detach())


def validate(network: Compass, recipe: Recipe, pictures: Pictures) -> dict[str, float]:
    """Average losses over 32 fixed batches of the held-out pictures."""
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    network.eval()
    with torch.no_grad():
        batches = (draw(network, recipe, pictures, generator) for _ in range(VALIDATION_BATCHES))
        rows = [loss(network, recipe, batch) for batch in batches]
    network.train()
    return {
        "loss": sum(float(r.total) for r in rows) / len(rows),
        "bpp": sum(float(r.bpp) for r in rows) / len(rows),
        "mse": sum(float(r.mse) for r in rows) / len(rows),
    }


def _autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)

"""Steps recorded as CUDA graphs: the same steps. Only where there is a CUDA device."""

import pytest
import torch

from model.training import trainer
from model.training.data import Pictures
from model.training.plan import Plan
from model.training.recorded import Recorded
from model.training.stages import STAGES, Recipe
from model.training.trainer import Run
from tests.model.tiny import TINY_PATCHES, picture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
STEPS = 24


def losses_of(stage, path):
    """The losses of a run's steps, and its weights at the end."""
    device = torch.device("cuda")
    made = [torch.from_numpy(picture(144, 136, seed)) for seed in range(4)]
    pictures = (Pictures(made[:3], device), Pictures(made[3:], device))
    run = Run(Plan(TINY_PATCHES, Recipe(stage, batch=2, side=128, lr=1e-4), pictures, path, steps=STEPS))
    losses = [float(run.advance().total) for _ in range(STEPS)]
    return losses, run


@pytest.mark.parametrize("stage", STAGES)
def test_recorded_steps_are_the_steps(stage, tmp_path, monkeypatch):
    """To the rounding of sums in any order, over batches, noise and learning rates that change."""
    monkeypatch.setattr(trainer, "RECORDED_SIZES", 3)
    recorded, run = losses_of(stage, tmp_path / "recorded.safetensors")
    assert isinstance(run._step, Recorded)
    monkeypatch.setattr(trainer, "Recorded", lambda step: step)
    direct, _ = losses_of(stage, tmp_path / "direct.safetensors")
    assert recorded == pytest.approx(direct, rel=0.02)
    assert len(set(recorded)) == STEPS

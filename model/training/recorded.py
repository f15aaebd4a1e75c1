"""Steps of training as CUDA graphs: recorded once, then started as a whole.

A step is a thousand small operations and more, and starting them takes a CPU five to ten times as long as
computing them takes a large GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from model.geometry import Size
from model.training.stages import Batch, Losses

Step = Callable[[Batch], Losses]


class Recorded:
    """A step that computes what ``step`` does, on batches of the same few tuples of ``sizes``.

    Of each tuple the first batch is computed directly, which also makes what the step keeps, as the state of
    optimisers; the second is recorded; it and all others are replayed. ``step`` must not wait for the device,
    nor depend on anything on the CPU that changes. The losses hold until the next step.
    """

    def __init__(self, step: Step):
        self._step = step
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()
        self._begun: set[tuple[Size, ...]] = set()
        self._recordings: dict[tuple[Size, ...], _Recording] = {}

    def __call__(self, batch: Batch) -> Losses:
        """The losses of a batch on a CUDA device, after training on it."""
        recording = self._recordings.get(batch.sizes)
        if recording is not None:
            return recording.replay(batch)
        if batch.sizes in self._begun:
            graph = torch.cuda.CUDAGraph()
            own = Batch(batch.x.clone(), batch.level.clone(), batch.sizes)
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                losses = self._step(own)
            recording = self._recordings[batch.sizes] = _Recording(graph, own, losses)
            return recording.replay(batch)
        self._begun.add(batch.sizes)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):  # as what is recorded needs it
            losses = self._step(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return losses


@dataclass(frozen=True)
class _Recording:
    """One recorded step: the batch that it reads, and the losses that it writes."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    losses: Losses

    def replay(self, batch: Batch) -> Losses:
        """Train on another batch of the same sizes."""
        self.batch.x.copy_(batch.x)
        self.batch.level.copy_(batch.level)
        self.graph.replay()
        return self.losses

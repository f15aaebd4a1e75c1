"""A folder of photographs as one uint8 buffer on the training device, cropped there."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from model.geometry import Size
from model.training.folder import HELD_OUT, held_out_paths
from model.training.screens import screens


def read_picture(path: Path) -> Tensor:
    """An image file as (height, width, 3) uint8."""
    with Image.open(path) as image:
        return torch.from_numpy(np.asarray(image.convert("RGB")).copy())


class Pictures:
    """Pictures of any sizes, flattened one after another into a (pixels, 3) uint8 buffer.

    Cropping is index arithmetic on the device that holds the buffer: no data loader, no copies of
    the set. What is random is drawn on the CPU, so that nothing waits for the device. Raises ValueError if
    the folder holds no picture.
    """

    def __init__(self, pictures: list[Tensor], device: torch.device):
        if not pictures:
            raise ValueError("no pictures to train on")
        sizes = torch.tensor([p.shape[:2] for p in pictures])
        self.height, self.width = sizes.unbind(1)
        counts = sizes.prod(1)
        self.start = counts.cumsum(0) - counts
        self.buffer = torch.empty((int(counts.sum()), 3), dtype=torch.uint8, device=device)
        at = 0
        for picture in pictures:
            flat = picture.reshape(-1, 3)
            self.buffer[at : at + len(flat)] = flat
            at += len(flat)

    def __len__(self) -> int:
        return len(self.start)

    def crops(self, count: int, side: int, shrink: float, generator: torch.Generator) -> Tensor:
        """Random crops (count, 3, side, side), values 0 to 1.

        Crops of ``side / shrink`` pixels, mirrored half of the time, are shrunk to ``side``.
        Pictures too small for that are passed over. ``generator`` is one of the CPU.
        """
        device = self.buffer.device
        source = max(side, round(side / shrink))
        largest = int(torch.minimum(self.height, self.width).max())
        source = min(source, largest)
        fitting = torch.nonzero(torch.minimum(self.height, self.width) >= source)[:, 0]

        def draw(limits: Tensor) -> Tensor:
            return (torch.rand(count, generator=generator) * limits).long()

        which = fitting[draw(torch.full((count,), len(fitting)))]
        top, left = draw(self.height[which] - source + 1), draw(self.width[which] - source + 1)
        mirrored = draw(torch.full((count,), 2))
        width = self.width[which]
        drawn = torch.stack([self.start[which] + top * width + left, width, mirrored]).to(device)
        corner, width, mirrored = drawn[:, :, None, None].unbind()  # each (count, 1, 1)
        edge = torch.arange(source, device=device)
        columns = torch.where(mirrored == 1, edge.flip(0), edge)
        index = corner + edge[:, None] * width + columns
        crops = self.buffer[index].permute(0, 3, 1, 2).float() / 255  # (count, 3, source, source)
        return resize(crops, Size(side, side))


def resize(x: Tensor, size: Size) -> Tensor:
    """Antialiased bicubic resize of (B, 3, h, w), values kept in 0 to 1."""
    if Size(*x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bicubic", antialias=True).clamp(0, 1)


SCREENS = 0.05
"""Share of the training pictures that are synthetic screen content."""


def load_pictures(
    folder: Path, device: torch.device, held_out: int = HELD_OUT, screen_share: float = SCREENS
) -> tuple[Pictures, Pictures]:
    """Decode every picture below ``folder``: (training set, ``held_out`` pictures for validation).

    ``screen_share`` of the training set is synthetic screen content (:mod:`model.training.screens`), none of
    the validation pictures.
    """
    training, validation = held_out_paths(folder, held_out)
    with ThreadPoolExecutor() as threads:
        both = training + validation
        pictures = list(
            tqdm(threads.map(read_picture, both), total=len(both), desc="reading", unit="picture")
        )
    photographs = pictures[: len(training)]
    synthetic = screens(round(len(photographs) * screen_share / (1 - screen_share)), seed=0)
    return (Pictures(photographs + synthetic, device), Pictures(pictures[len(training) :], device))

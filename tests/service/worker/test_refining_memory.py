"""The largest picture that may be uploaded is refined within a worker's memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from service.settings import Settings
from tests.service.running import ROOT

SIZE = (8650, 5780)  # 50 megapixels

CODE = """
import os, sys
from pathlib import Path
from benchmarks.load.processes import peak_memory
from model.codec.refine import EFFORTS
from service.messages.jobs import Refine, Upload
from service.settings import Settings
from service.worker.tasks import Tasks

EFFORTS["fast"] = 1  # the first step needs as much as all others
upload, stream = map(Path, sys.argv[2:])
settings = Settings(device="cpu")
tasks = Tasks(settings.for_worker)
if sys.argv[1] == "upload":
    stream.write_bytes(tasks.upload(Upload("key", upload.read_bytes(), 80, settings.ladder_of(None))).stream)
else:
    tasks.refine(Refine("key", upload.read_bytes(), stream.read_bytes(), "fast"))
print(peak_memory(os.getpid()))
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_megapixels_stay_within_a_workers_memory(tmp_path):
    width, height = SIZE
    random = np.random.default_rng(0)
    pixels = np.empty((height, width, 3), np.uint8)
    for row in pixels:
        grain = random.integers(-6, 7, (width, 3))
        row[:] = 128 + 60 * np.sin(np.arange(width) / 37)[:, None] + grain
    Image.fromarray(pixels).save(tmp_path / "upload.jpg", quality=92)

    def peak(what: str) -> int:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COMPASS_")}
        done = subprocess.run(
            [sys.executable, "-c", CODE, what, str(tmp_path / "upload.jpg"), str(tmp_path / "stream")],
            env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    peaks = {what: peak(what) for what in ("upload", "refine")}
    assert max(peaks.values()) < Settings().worker_memory_bytes, peaks
    print(peaks)

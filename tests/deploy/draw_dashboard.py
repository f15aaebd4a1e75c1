"""Draws the dashboard of a short, real run from Prometheus' answers: docs/images/dashboard.png.

usage: python -m tests.deploy.draw_dashboard [seconds]      (needs Debian's package prometheus)
"""

import json
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tests.deploy.shipped import DASHBOARD, ShippedRedis
from tests.deploy.test_prometheus import Watching
from tests.service.running import ROOT, RunningService
from tests.service.samples import encoded, photo


def traffic(service: RunningService, seconds: float) -> None:
    """Uploads, and requests of random widths."""
    chosen = random.Random(0)
    pictures: list[str] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if chosen.random() < 0.15 or not pictures:
            data = encoded(photo(640, 480, len(pictures)), "JPEG", quality=90)
            pictures.append(service.upload(data, widths="160,320")["id"])
        width = chosen.choice((80, 160, 320, 500, 640))
        service.client.get(f"/images/{chosen.choice(pictures)}?width={width}")


def draw(axes: Axes, panel: dict[str, Any], prometheus: Watching, start: float, end: float) -> None:
    """One panel: a line for each series that Prometheus answers."""
    axes.set_title(panel["title"], fontsize=8, loc="left")
    axes.tick_params(labelsize=6)
    for target in panel["targets"]:
        query = target["expr"].replace("$instance", ".+").replace("$__rate_interval", "30s")
        span = {"query": query, "start": str(start), "end": str(end), "step": "1"}
        answer = prometheus.client.get("/query_range", params=span).json()
        for series in answer["data"]["result"]:
            label = target["legendFormat"]
            for name, value in series["metric"].items():
                label = label.replace(f"{{{{{name}}}}}", value)
            points = [(float(when) - start, float(value)) for when, value in series["values"]]
            axes.plot(*zip(*points, strict=True), linewidth=1, label=label)
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=5, frameon=False)


def main() -> None:
    """Run everything and write the picture."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 90
    folder = Path(tempfile.mkdtemp())
    (folder / "redis").mkdir()
    store = ShippedRedis(folder / "redis")
    with ExitStack() as stack:
        stack.callback(store.stop)
        store.start()
        service = stack.enter_context(RunningService(folder, redis_url=store.url))
        prometheus = Watching(folder, service)
        stack.callback(prometheus.stop)
        prometheus.wait_for('up{job="compass"} == 1')
        start = time.time()
        traffic(service, seconds)
        end = time.time()
        panels = [p for p in json.loads(DASHBOARD.read_text())["panels"] if p["type"] == "timeseries"]
        figure, grid = plt.subplots((len(panels) + 2) // 3, 3, figsize=(12, 2 * ((len(panels) + 2) // 3)))
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(grid.flat, panels, strict=False):
            draw(axes, panel, prometheus, start, end)
        figure.tight_layout()
        figure.savefig(ROOT / "docs/images/dashboard.png", dpi=110)


if __name__ == "__main__":
    main()

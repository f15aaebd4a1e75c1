"""The HTTP process as a whole."""

import subprocess
import sys

from service.app import create_app
from service.metrics import Metrics
from service.settings import Settings
from tests.service.write_openapi import document

CODE = """
import sys
import service.app

heavy = ("torch", "torchvision", "numba", "compressai", "model.codec", "model.network", "model.training")
print(*(name for name in heavy if name in sys.modules))
"""


def test_the_http_process_imports_no_torch_and_no_codec() -> None:
    """Neither at once nor by way of anything that it imports."""
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_failures_are_counted_from_nought() -> None:
    """Alerts on their increase see the first burst of them only if the counts were there before."""
    layers = create_app(Settings()).user_middleware
    (metrics,) = [layer.kwargs["metrics"] for layer in layers if "metrics" in layer.kwargs]
    assert isinstance(metrics, Metrics)
    (requests,) = metrics.requests.collect()
    counted = {tuple(sample.labels.values()) for sample in requests.samples if sample.value == 0}
    documented = {
        (path, method.upper(), status)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        for status in operation["responses"]
        if status.startswith("5")
    }
    assert {("/images", "POST", "507"), ("/images/{picture}", "PATCH", "507")} <= documented
    assert counted == documented

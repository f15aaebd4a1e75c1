"""The HTTP process as a whole."""

import subprocess
import sys

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

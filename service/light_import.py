"""Parts of a package without the whole package: a worker that starts fast is soon back after a crash.

``import compressai`` loads its model zoo, data sets, torchvision, pandas and sympy, though the codec
needs but a few of its layers: that doubles the time until a worker is ready, and takes 200 MiB.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

COMPRESSAI_PARTS = ("compressai.entropy_models", "compressai.layers")


def import_compressai_lightly() -> None:
    """Make those parts of CompressAI importable that the codec uses; nothing changes if it is loaded."""
    defaults = {"get_entropy_coder": lambda: "ans", "available_entropy_coders": lambda: ["ans"]}
    import_parts("compressai", COMPRESSAI_PARTS, defaults)


def import_parts(package: str, parts: Sequence[str], contents: Mapping[str, Any]) -> None:
    """Import submodules of a package without running the package's own ``__init__``, which is left with
    only these ``contents``. Where that does not work, nothing is imported at all.
    """
    spec = find_spec(package)
    if package in sys.modules or spec is None:
        return
    before = set(sys.modules)
    module: ModuleType = module_from_spec(spec)
    vars(module).update(contents)
    sys.modules[package] = module
    try:
        for part in parts:
            import_module(part)
    except (ImportError, AttributeError):
        for name in set(sys.modules) - before:
            if name == package or name.startswith(f"{package}."):
                del sys.modules[name]

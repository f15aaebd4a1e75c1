"""The tree of tests mirrors the tree of modules: what tests a module is found without searching."""

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOP = ("model", "service", "benchmarks")

TESTED_ELSEWHERE = {
    "model/clock.py": "codec/test_codec.py: a clock without work to time shows nothing",
    "model/codec/parallel.py": "codec/test_codec.py: threads must not change a stream",
    "model/errors.py": "stream/test_container.py, codec/test_weights.py: each error where it is raised",
    "model/network/config.py": "network/test_compass.py, codec/test_weights.py: sizes of real networks",
    "service/cluster/application.py": "deploy/test_kubernetes.py: with the manifest that names it",
    "service/cluster/bulk.py": "engine/test_refiner_of_a_cluster.py: its frames; with Ray itself not yet",
    "service/client/placeholder.py": "kit/test_kit.py: both languages, of hashes that the service writes",
    "service/client/signing.py": "web/test_access.py, kit/test_kit.py: what is signed is what is opened",
    "service/client/urls.py": "kit/test_kit.py: both languages against each other, and asked of a service",
    "service/engine/choice.py": "engine/test_cluster.py: with the engines that are chosen from",
    "service/engine/fallback.py": "engine/test_cluster.py: with a cluster that is lost",
    "service/engine/interface.py": "test_library.py: what the library asks of an engine",
    "service/messages/credits.py": "worker/test_credits.py: plain data, read and written there",
    "service/messages/jobs.py": "messages/test_protocol.py: plain data, tested on its way through the frames",
    "service/metrics.py": "deploy/test_metric_names.py: names, against the dashboard and the documentation",
    "service/server.py": "test_restart.py: a process that is told to end, with uploads under way",
    "service/storage/by_hand.py": "refining/test_command.py: by a command that opens a store so",
    "service/storage/disk.py": "storage/test_valkey.py: a disk that runs full under a real server",
    "service/storage/errands.py": "storage/test_store.py, test_servers.py: deadlines, servers that change",
    "service/web/sending.py": "web/test_stalls.py: readers that are slow, on real sockets",
    "service/planning/points.py": "planning/test_quality.py: numbers, with the function that reads them",
    "service/planning/formats.py": "worker/test_imagefile.py: against what Pillow really does",
    "benchmarks/measure/command.py": "quality/test_rd.py: the options of a benchmark, with a benchmark",
    "benchmarks/measure/ours.py": "quality/test_rd.py: with the benchmark that it measures for",
    "benchmarks/quality/figures.py": "quality/test_rd.py: beside the benchmarks that it runs",
    "benchmarks/quality/publication.py": "quality/test_rd.py: numbers, with the ladders beside them",
    "benchmarks/quality/scalable.py": "quality/test_rd.py: both are run on one set of pictures and weights",
    "benchmarks/speed/plain.py": "speed/test_codec.py: what the codec is compared with, beside the codec",
    "benchmarks/speed/entropy.py": "model/stream/test_entropy.py: the coder; its seconds: make bench-entropy",
    "benchmarks/load/bare_server.py": "load/test_http.py: with the benchmark that it is measured for",
    "benchmarks/load/engines.py": "a minute beside a real cluster: make bench-engines; it checks its answers",
    "benchmarks/load/nodes.py": "a minute beside a real cluster: make bench-nodes",
    "benchmarks/load/scaling.py": "minutes of load: make bench-scaling; its parts have tests",
}
"""Modules without a test file of their own, and where, or why not, they are tested."""
TESTED_TOGETHER = {
    "model/training": "test_training.py: a run of training passes through every module of the folder",
}
"""Folders whose modules may share one test file."""


def modules() -> Iterator[Path]:
    """All modules, from the root of the repository."""
    for top in TOP:
        for path in sorted((ROOT / top).rglob("*.py")):
            if path.name != "__init__.py":
                yield path.relative_to(ROOT)


def mirrored(module: Path) -> Path:
    """The test file of a module."""
    return Path("tests") / module.parent / f"test_{module.name}"


@pytest.mark.parametrize("module", [str(path) for path in modules()])
def test_every_module_has_its_test(module: str) -> None:
    found = (ROOT / mirrored(Path(module))).is_file()
    excused = module in TESTED_ELSEWHERE or str(Path(module).parent) in TESTED_TOGETHER
    assert found or excused, f"write {mirrored(Path(module))}, or say in this file where it is tested"


@pytest.mark.parametrize("module", TESTED_ELSEWHERE)
def test_exceptions_are_modules_that_have_no_test(module: str) -> None:
    assert (ROOT / module).is_file()
    assert not (ROOT / mirrored(Path(module))).exists(), "it has a test now: take it off the list"


@pytest.mark.parametrize("folder", [path for top in TOP for path in (ROOT / "tests" / top).rglob("*/")])
def test_every_folder_of_tests_is_one_of_modules(folder: Path) -> None:
    if folder.name != "__pycache__":
        assert (ROOT / folder.relative_to(ROOT / "tests")).is_dir()

"""The command ``compass``, run as a user runs it."""

import os
import subprocess
import sys

from service.cli import main
from tests.service.running import ROOT


def compass(*arguments, cwd=ROOT, stdin=None, **environment):
    base = {k: v for k, v in os.environ.items() if not k.startswith("COMPASS_")}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *map(str, arguments)],
        cwd=cwd,
        env={**base, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=240,
    )


def compass_here(capsys, *arguments):
    """The same in this process, which has loaded the codec already: a start takes seconds."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return subprocess.CompletedProcess(arguments, code, printed.out, printed.err)


def failed(result, code=1):
    """The one line that the command says on failure."""
    assert result.returncode == code, result
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]

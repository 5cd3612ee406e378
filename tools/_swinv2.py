"""Runs a command of ``swinv2`` from a checkout that nobody has to install or activate.

Written for any Python 3, since any may be asked to run it: the one that has torch and mmengine does the work, this one
or the one that ``make install`` made in .venv.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
NEEDED = ("torch", "mmengine")


def run(command: str) -> None:
    """Run ``swinv2 COMMAND`` with this process's arguments, and exit with its status."""
    # Beside the programs nothing is to be found: a library that imports `test` or `models` does not mean these.
    here = os.path.join(ROOT, "tools")
    sys.path[:] = [ROOT] + [path for path in sys.path if not os.path.abspath(path).startswith(here)]
    lack = ", ".join(f"it has no {name}" for name in NEEDED if importlib.util.find_spec(name) is None)
    if sys.version_info < (3, 10):  # noqa: UP036
        lack = "3.10 is the oldest that will do"
    if lack:
        sys.exit(_elsewhere(lack))
    from swinv2_dense.cli import common, main

    sys.exit(common.run(lambda: main.run_command(command, sys.argv[1:])))


def _elsewhere(lack: str) -> int:
    """Run the same file by the checkout's own Python; returns its exit status."""
    python = os.path.join(VENV, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    if os.path.realpath(sys.prefix) == os.path.realpath(VENV) or not os.path.exists(python):
        advice = "run `make install`, whose .venv is then used by itself, or run this file by another Python"
        print(f"error: {sys.executable} cannot run this, {lack}: {advice}", file=sys.stderr)
        return 1
    if os.name != "nt":
        os.execv(python, [python, *sys.argv])
    return subprocess.call([python, *sys.argv])

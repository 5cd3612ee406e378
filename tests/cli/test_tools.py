"""The files in tools/ are executable, thin, and find the package and a Python that has its libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swinv2_dense.cli.main import COMMANDS

TOOLS = Path(__file__).parents[2] / "tools"
PROGRAMS = sorted(path for path in TOOLS.rglob("*.py") if path.name not in ("_swinv2.py", "check_wheels.py"))


def test_one_for_each_command() -> None:
    names = (" ".join(path.relative_to(TOOLS).with_suffix("").parts) for path in PROGRAMS)
    commands = {{"benchmark": "bench"}.get(name, name).replace("_", "-") for name in names}
    assert commands == set(COMMANDS)


@pytest.mark.parametrize("program", [*PROGRAMS, *sorted(TOOLS.glob("*.sh"))], ids=lambda path: path.name)
def test_executable(program: Path) -> None:
    assert os.access(program, os.X_OK)
    assert program.read_text().startswith("#!/usr/bin/env ")


@pytest.mark.parametrize(
    ("command", "gpus"),
    [
        ("dist_train.sh a.py", ""),
        ("dist_train.sh a.py --amp", ""),
        ("dist_train.sh a.py 0", ""),
        ("dist_test.sh a.py a.pth --tta", ""),
        ("slurm_train.sh part job a.py", "8"),
        ("slurm_train.sh part job a.py work", "two"),
        ("slurm_test.sh part job a.py a.pth", "0"),
    ],
)
def test_scripts_without_a_number_of_gpus_say_how_they_are_called(command: str, gpus: str) -> None:
    script, *arguments = command.split()
    environment = {**os.environ, **({"GPUS": gpus} if gpus else {})}
    done = subprocess.run(["bash", TOOLS / script, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"tools/{script}" in done.stderr.splitlines()[0] and len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("program", ["models.py", "prepare/coco.py"])
def test_runs_from_any_folder_without_an_installed_package(program: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, TOOLS / program, "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: swinv2 {program.removesuffix('.py').replace('/', ' ')}")


def checkout(folder: Path) -> Path:
    """The programs alone, and a Python without any library."""
    shutil.copytree(TOOLS, folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "tools" / "train.py"


def run_bare(program: Path) -> subprocess.CompletedProcess[str]:
    # isolated, and without site-packages: as the system's own Python is
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = [sys.executable, "-S", str(program), "--fast-dev-run"]
    return subprocess.run(python, env=environment, capture_output=True, text=True)


def test_a_python_without_the_libraries_says_so_in_one_line(tmp_path: Path) -> None:
    done = run_bare(checkout(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "it has no torch" in done.stderr
    assert "make install" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for Python")
def test_the_python_of_the_checkout_takes_over(tmp_path: Path) -> None:
    program = checkout(tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "taken over: $@"\nexit 7\n')
    python.chmod(0o755)
    done = run_bare(program)
    assert (done.returncode, done.stdout) == (7, f"taken over: {program} --fast-dev-run\n")

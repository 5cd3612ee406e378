#!/usr/bin/env python
"""Ask the package index, through uv, whether the whole tested set has wheels for every Python and platform.

Needs uv on the PATH and the network. Prints a line per combination, and ends with 1 if any of them lacks a wheel.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux aarch64": "aarch64-manylinux_2_28",
    "macOS 14 arm64": "aarch64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}


def wheels_alone() -> str:
    """The lines of the set and of what `make web` adds, without the packages that are Python only and have no wheels,
    which the Makefile names."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (source,) = re.findall(r"^SOURCE := (.*)$", makefile, re.MULTILINE)
    sets = [ROOT / "requirements" / name for name in ("constraints.txt", "constraints_web.txt")]
    lines = [line for path in sets for line in path.read_text(encoding="utf-8").splitlines()]
    return "\n".join(line for line in lines if line.partition("==")[0] not in source.split(","))


def problem(requirements: str, python: str, platform: str) -> str:
    """What uv says is missing, or nothing."""
    command = ["uv", "pip", "compile", "--quiet", "--no-deps", "--only-binary", ":all:", "--no-header"]
    command += ["--python-version", python, "--python-platform", platform, "-"]
    environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}  # PyAV has wheels from macOS 14 on
    done = subprocess.run(
        command, input=requirements, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    return " ".join(done.stderr.split()) or f"uv ended with {done.returncode}" if done.returncode else ""


def main() -> int:
    requirements, failed = wheels_alone(), 0
    for python in PYTHONS:
        for name, platform in PLATFORMS.items():
            found = problem(requirements, python, platform)
            failed += bool(found)
            print(f"CPython {python}, {name}: {found or 'all wheels there'}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""What ``tools/install.py`` must know about this machine to compile mmcv: the card, the CUDA toolkit, the cache."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any


def operators(torch: dict[str, Any], nvcc: str | None, wanted: str | None) -> tuple[str, str]:
    """The compute capabilities to compile mmcv for (empty: CPU operators only), and why not for the card that is here.

    Args:
        torch: ``version``, ``cuda`` (None: a CPU build) and ``cards``, the compute capability of each visible card.
        nvcc: Version of the CUDA toolkit, such as ``13.0``.
        wanted: ``TORCH_CUDA_ARCH_LIST``, for building on a machine that has no card.
    """
    capabilities = wanted or ";".join(f"{major}.{minor}" for major, minor in sorted(set(map(tuple, torch["cards"]))))
    if not capabilities:
        return "", ""
    cuda = torch["cuda"]
    if cuda is None:
        return "", "this torch is a CPU build: give TORCH_INDEX, and run the install again"
    need = f"install the CUDA {cuda} toolkit, and run the install again"
    if nvcc is None:
        return "", f"there is no nvcc: {need}"
    if nvcc.split(".")[0] != cuda.split(".")[0]:
        return "", f"nvcc is of CUDA {nvcc}, torch of CUDA {cuda}: {need}"
    return capabilities, ""


def cuda_home() -> Path | None:
    """The folder of the CUDA toolkit: compiler and headers."""
    on_path = shutil.which("nvcc")
    places = [os.environ.get("CUDA_HOME"), on_path and Path(on_path).resolve().parents[1], "/usr/local/cuda"]
    homes = [Path(place) for place in places if place]
    return next((h for h in homes if (h / "bin/nvcc").exists() and (h / "include/cuda_runtime.h").exists()), None)


def nvcc_version(home: Path | None) -> str | None:
    if home is None:
        return None
    told = subprocess.run([home / "bin/nvcc", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"release (\d+\.\d+)", told)
    return found and found.group(1)


def compiler_environment(capabilities: str, home: Path | None) -> dict[str, str]:
    """The variables under which mmcv is compiled; flags and number of jobs that the user has set remain as they are."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    jobs = max(1, min(len(os.sched_getaffinity(0)), memory // 2**31))  # a compiler takes up to 2 GiB
    # These flags halve the time; the CUDA operators, which nvcc compiles, keep their own level.
    ours = {"CFLAGS": "-O1 -g0", "CXXFLAGS": "-O1 -g0", "MAX_JOBS": str(jobs)}
    chosen = {name: os.environ.get(name, value) for name, value in ours.items()} | {"MMCV_WITH_OPS": "1"}
    if not capabilities:
        return chosen | {"FORCE_CUDA": "0", "CUDA_VISIBLE_DEVICES": ""}
    return chosen | {"FORCE_CUDA": "1", "TORCH_CUDA_ARCH_LIST": capabilities, "CUDA_HOME": str(home)}


def wheel_folder(mmcv: str, torch: str, python: tuple[int, int], capabilities: str) -> Path:
    """Where the wheel compiled for exactly these is kept. Pip's own cache does not know for which torch it compiled."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    machine = f"{platform.system()}-{platform.machine()}-{''.join(platform.libc_ver())}".lower()
    ops = "cuda" + capabilities.replace(";", "+") if capabilities else "cpu"
    return cache / "swinv2_dense/wheels" / f"mmcv{mmcv}-torch{torch}-py{python[0]}{python[1]}-{machine}-{ops}"

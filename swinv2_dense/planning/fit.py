"""Whether a training fits this machine: its own memory, or its GPU's."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from mmengine.config import Config

from swinv2_dense.planning.decoders import has_decoder
from swinv2_dense.planning.plan import GIB, Way, make_plan
from swinv2_dense.planning.step import build
from swinv2_dense.planning.training_forward import input_size

__all__ = ["free_memory", "largest_batch", "needed_memory", "warning"]

# What a program needs besides tensors: an assumption, for training's imports on a CPU and CUDA's own share on a GPU.
_BESIDES = 1.0 * GIB
_KEPT_FREE = 0.1
_MOST = 32


def free_memory() -> float | None:
    """Bytes that a training can have: the GPU's, or this machine's, or less where a container allows less. None where
    the system does not say."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    found = []
    info = Path("/proc/meminfo")
    if info.is_file():
        found += [
            1024.0 * int(line.split()[1]) for line in info.read_text().splitlines() if line.startswith("MemAvail")
        ]
    elif "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        found.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            allowed, taken = (int(Path("/sys/fs/cgroup", name).read_text()) for name in (limit, used))
        except (OSError, ValueError):  # no such group, or 'max'
            continue
        found.append(float(allowed - taken))
    return min(found, default=None)


def needed_memory(cfg: Config, batch: int) -> float:
    """Bytes that a step of the config takes on this machine at its worst moment, all included.

    Raises:
        UserError: a plan cannot be made for the config.
    """
    on_gpu, with_cp = torch.cuda.is_available(), bool(cfg.model.backbone.get("with_cp", False))
    amp = on_gpu and cfg.optim_wrapper.get("type") == "AmpOptimWrapper"
    precision = "amp" if amp else "fp32"
    size = input_size(cfg)
    # Decoders of transformers are planned as a GPU runs them: on a CPU they take about as much.
    device = "cuda" if on_gpu or has_decoder(build(cfg)) else "cpu"
    plan = make_plan(cfg, size, batch, device=device, precisions=(precision,), checkpointing=(with_cp,))
    return plan.need(Way("ddp", precision, with_cp), 1).total + _BESIDES


def largest_batch(cfg: Config, *, least: int = 1, most: int = _MOST) -> int:
    """The largest power of two from ``least`` to ``most``, or 32, whose step fits the free memory; else ``least``."""
    free = free_memory()
    if free is None:
        return least
    one, two = (needed_memory(cfg, batch) for batch in (1, 2))
    fits = [batch for batch in (1, 2, 4, 8, 16, _MOST) if one + (batch - 1) * (two - one) <= (1 - _KEPT_FREE) * free]
    return max((batch for batch in fits if least <= batch <= most), default=least)


def warning(cfg: Config) -> str | None:
    """A line where the training will take more than the free memory, with what would make it fit; else None.

    None too where several processes share the training by a strategy, which ``swinv2 plan`` is asked about.
    """
    processes = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", 1)))
    if processes > 1 and cfg.get("strategy"):
        return None
    free = free_memory()
    if free is None:
        return None
    batch = cfg.train_dataloader.get("batch_size", 1)
    needed = needed_memory(cfg, batch)
    if needed <= free:
        return None
    ways = ["a smaller model"]
    if not cfg.model.backbone.get("with_cp"):
        ways.insert(0, "--cfg-options model.backbone.with_cp=True")
    if batch > 1:
        ways.insert(0, "train_dataloader.batch_size=1")
    what = "the GPU" if torch.cuda.is_available() else "this machine"
    return (
        f"a training step will take about {needed / GIB:.1f} GiB, {what} has {free / GIB:.1f} GiB free, and the system "
        f"may end the training without a word: try {', '.join(ways)} or a smaller size"
    )

"""What ``swinv2 bench`` measures of a case: the time and memory of one step, and the floor under its time."""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

__all__ = ["DTYPES", "Case", "floor", "matrix_rate", "measure", "profile"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Case(ABC):
    """One piece of work that ours and its peers do. ``train``: with the gradients of all weights."""

    name: str
    train: bool = False
    dtype: str = "fp32"

    @abstractmethod
    def peers(self, device: str = "cpu") -> tuple[str, ...]:
        """The implementations that ours is compared with there."""

    @abstractmethod
    def build(self, implementation: str, device: str = "cpu") -> tuple[nn.Module, Callable[[], object]]:
        """The model, with random weights, and the step that is timed. Training it ends with the backward pass."""

    @abstractmethod
    def flops(self, device: str = "cpu") -> int:
        """Floating-point operations of the matrix products of one forward pass; where it has to run, it does there."""

    @abstractmethod
    def error(self) -> float | None:
        """Largest relative error of what ours computes against a peer with the same weights; None: not compared."""


def measure(implementation: str, case: Case, runs: int, device: str) -> dict[str, float]:
    """Median seconds of a step, of ``runs`` or what two seconds hold (a GPU's, whose steps take alike long: one), and
    MiB at the first one's peak beyond the model, its gradients and the input. What is compiled by its first step is
    measured from the second one on, and so is all on a GPU, whose libraries choose kernels and take room then."""
    torch.manual_seed(0)
    model, step = case.build(implementation, device)
    model.train(case.train)
    with torch.set_grad_enabled(case.train):
        if case.train:  # gradients belong to the weights, not to the step
            for p in model.parameters():
                p.grad = torch.zeros_like(p)
        if device == "cuda" or implementation.endswith("-compiled"):
            step()
            _trim()
        before = _memory(device, reset=True)
        step()
        peak = _memory(device, peak=True) - before
        seconds: list[float] = []
        while len(seconds) < runs or sum(seconds) < (1 if device == "cuda" else 2):
            _synchronize(device)
            start = time.perf_counter()
            step()
            _synchronize(device)
            seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "mib": peak / 2**20}


def _trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _memory(device: str, *, peak: bool = False, reset: bool = False) -> int:
    """Bytes in use, or at the peak since the last reset: the allocator's on a GPU, resident ones on the CPU."""
    if device == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM" if peak else "VmRSS"].split()[0]) * 1024


def matrix_rate(device: str, dtype: str) -> float:
    """Floating-point operations per second of one large matrix product: the best of ten times, on a GPU of ten in a
    row: its clock rises meanwhile, and waiting for it takes time as well."""
    n, in_a_row = (8192, 10) if device == "cuda" else (2048, 1)
    a, b = (torch.randn(n, n, device=device, dtype=DTYPES[dtype]) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        _synchronize(device)
        start = time.perf_counter()
        for _ in range(in_a_row):
            a @ b
        _synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * in_a_row * n**3 / best


def floor(flops: int, rate: float, *, train: bool) -> float:
    """Seconds that ``flops`` of matrix products take at ``rate``; gradients of both factors cost twice the forward."""
    return flops * (3 if train else 1) / rate


def profile(case: Case, device: str) -> None:
    """Print where the time of our own step goes."""
    model, step = case.build("ours", device)
    model.train(case.train)
    with torch.set_grad_enabled(case.train):
        step()
        with torch.profiler.profile(acc_events=True) as events:
            step()
    by = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
    print(events.key_averages().table(sort_by=by, row_limit=15, max_name_column_width=60))

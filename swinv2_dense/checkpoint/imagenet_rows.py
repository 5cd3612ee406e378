"""A head of ImageNet-22K's 21,841 classes as one of ImageNet-1K's: its rows of the 1,000 classes."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from torch import Tensor

__all__ = ["CLASSES_1K", "CLASSES_22K", "rows_of_1k", "rows_of_22k"]

CLASSES_1K, CLASSES_22K = 1000, 21841


@lru_cache(maxsize=1)
def rows_of_22k() -> tuple[int, ...]:
    """Place among the 22K classes of each of the 1,000, in the order of their sorted wnids."""
    text = files("swinv2_dense.checkpoint").joinpath("data/map22kto1k.txt").read_text("utf-8")
    return tuple(int(line) for line in text.splitlines() if not line.startswith("#"))


def rows_of_1k(head: Tensor) -> Tensor:
    """Weight or bias of a 22K head, 21841 x ... -> 1000 x ...."""
    return head[list(rows_of_22k())]

"""What a demo keeps of a training run for its progress bar and its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from swinv2_dense.demo.console import Advance

__all__ = ["Recorder"]


class Recorder(Hook):
    """Records the loss of every iteration, the named metrics of every validation, and the last one's predictions.

    ``losses``: one per iteration. ``scores``: name -> [(iteration, value)]. ``predictions``: image's path -> the
    library's data sample, of the last validation.

    Args:
        metrics: names to record them under -> the evaluator's key.
        advance: called after every iteration.
    """

    def __init__(self, metrics: dict[str, str], advance: Advance) -> None:
        self.metrics, self.advance = metrics, advance
        self.losses: list[float] = []
        self.scores: dict[str, list[tuple[int, float]]] = {name: [] for name in metrics}
        self.predictions: dict[str, Any] = {}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        self.losses.append(float((outputs or {})["loss"]))
        recent = self.losses[-20:]
        self.advance(len(self.losses), f"loss {sum(recent) / len(recent):.2f}{self._latest()}")

    def before_val_epoch(self, runner: Runner) -> None:
        self.predictions.clear()

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        self.predictions.update((sample.img_path, sample) for sample in outputs or ())

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        for name, key in self.metrics.items():
            self.scores[name].append((len(self.losses), float((metrics or {})[key])))

    def _latest(self) -> str:
        return "".join(f"  {name} {points[-1][1]:.2f}" for name, points in self.scores.items() if points)

"""Drawing every tested sample with its prediction: what --show and --show-dir of swinv2 test switch on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.hooks import Hook
from mmengine.runner import Runner

__all__ = ["SampleDrawingsHook"]


class SampleDrawingsHook(Hook):
    """Options are named as in mmdet's hook.

    Args:
        draw: whether to do anything.
        show: show each drawing in a window, for ``wait_time`` seconds.
        test_out_dir: a folder for the drawings.
    """

    def __init__(
        self, draw: bool = False, show: bool = False, wait_time: float = 2.0, test_out_dir: str | None = None
    ) -> None:
        self.draw, self.show, self.wait_time, self.folder = draw, show, wait_time, test_out_dir

    def figures(self, dataset: Any, batch: Any, samples: Sequence[Any]) -> Iterator[Figure]:
        """Draw samples of a batch, each to its :meth:`path`."""
        raise NotImplementedError

    def path(self, name: str | Path) -> Path | None:
        """Where a drawing of this name goes, if anywhere."""
        return Path(self.folder, name) if self.folder else None

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        if not self.draw:
            return
        for figure in self.figures(runner.test_dataloader.dataset, data_batch, outputs or ()):
            if self.show:
                canvas = FigureCanvasAgg(figure)
                canvas.draw()
                runner.visualizer.show(np.asarray(canvas.buffer_rgba())[..., :3], wait_time=self.wait_time)

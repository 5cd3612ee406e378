"""Pictures of segmentation results. Needs mmseg's visualizer; configs name it in ``custom_imports``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from swinv2_dense.registry import HOOKS

__all__ = ["SegPicturesHook"]


@HOOKS.register_module()
class SegPicturesHook(Hook):
    """Paints every test result over its picture, beside the truth, with the options of mmdet's hook.

    mmseg's own hook has no place to write to but the run's log folder.

    Args:
        draw: whether to do anything.
        show: show each picture in a window.
        wait_time: seconds that a window stays.
        test_out_dir: folder for NAME.png of every picture NAME.
    """

    def __init__(
        self, draw: bool = False, show: bool = False, wait_time: float = 0.0, test_out_dir: str | None = None
    ) -> None:
        self.draw, self.show, self.wait_time, self.test_out_dir = draw, show, wait_time, test_out_dir

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        if not self.draw:
            return
        for sample in outputs or ():
            name = Path(sample.img_path).stem
            Visualizer.get_current_instance().add_datasample(
                name,
                mmcv.imfrombytes(get(sample.img_path), channel_order="rgb"),
                data_sample=sample,
                show=self.show,
                wait_time=self.wait_time,
                out_file=str(Path(self.test_out_dir, f"{name}.png")) if self.test_out_dir else None,
            )

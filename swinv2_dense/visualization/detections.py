"""Detections drawn over their images. Needs mmdet: configs name this module in ``custom_imports``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.engine.hooks import DetVisualizationHook
from mmengine.runner import Runner

from swinv2_dense.registry import HOOKS
from swinv2_dense.visualization.image_names import read_displayed, relative_name

__all__ = ["DetectionsHook"]


@HOOKS.register_module()
class DetectionsHook(DetVisualizationHook):
    """mmdet's hook, which writes every image under its name alone and reads three channels only.

    Here images of one name in two folders are kept, and of images with further bands the first three are shown. Options
    are mmdet's; ``test_out_dir`` gets the images' folders below their data set's.
    """

    test_out_dir: str | None

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        if not self.draw:
            return
        for sample in outputs or ():
            name = relative_name(sample.img_path, runner.test_dataloader.dataset, ".jpg")
            file = None
            if self.test_out_dir is not None:
                file = Path(runner.work_dir, runner.timestamp, self.test_out_dir, name)
                file.parent.mkdir(parents=True, exist_ok=True)
            runner.visualizer.add_datasample(
                name.name,
                read_displayed(sample.img_path),
                data_sample=sample,
                show=self.show,
                wait_time=self.wait_time,
                pred_score_thr=self.score_thr,
                out_file=None if file is None else str(file),
                step=batch_idx,
            )

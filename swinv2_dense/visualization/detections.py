"""Detections drawn over their images. Needs mmdet: configs name this module in ``custom_imports``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mmdet.engine.hooks import DetVisualizationHook
from mmengine.runner import Runner

from swinv2_dense.registry import HOOKS
from swinv2_dense.visualization.image_names import relative_name

__all__ = ["DetectionsHook"]


@HOOKS.register_module()
class DetectionsHook(DetVisualizationHook):
    """mmdet's hook, which writes every image under its name alone: here images of one name in two folders are kept.

    Options are mmdet's; ``test_out_dir`` gets the images' folders below their data set's.
    """

    test_out_dir: str | None

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        folder = self.test_out_dir
        if not self.draw or folder is None:
            super().after_test_iter(runner, batch_idx, data_batch, outputs)
            return
        for sample in outputs or ():
            name = relative_name(sample.img_path, runner.test_dataloader.dataset, ".jpg")
            self.test_out_dir = os.path.join(folder, name.parent)
            super().after_test_iter(runner, batch_idx, data_batch, [sample])
        self.test_out_dir = folder

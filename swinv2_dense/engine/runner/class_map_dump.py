"""What ``swinv2 test --out`` keeps of each prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import DumpResults

from swinv2_dense.registry import METRICS

__all__ = ["DumpClassMaps"]


@METRICS.register_module()
class DumpClassMaps(DumpResults):
    """mmengine's ``DumpResults`` without the scores of every class for every pixel, which segmentation predicts too:
    kept for the 2,000 pictures of ADE20K's validation they take hundreds of gigabytes."""

    def process(self, data_batch: Any, predictions: Sequence[dict]) -> None:
        kept = [{key: value for key, value in sample.items() if key != "seg_logits"} for sample in predictions]
        super().process(data_batch, kept)

"""Reading ADE20K's class maps in a pipeline of mmseg's. Needs mmcv; configs name it in ``custom_imports``."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from swinv2_dense.checks.index_maps import check_map, decode_map
from swinv2_dense.errors import UserError
from swinv2_dense.registry import TRANSFORMS

__all__ = ["LoadIndexMap"]

IGNORED = 255


@TRANSFORMS.register_module()
class LoadIndexMap(BaseTransform):
    """Reads a map of 0 (other) to ``num_classes`` into labels 0 to ``num_classes`` - 1, 255 where ignored.

    In the place of mmseg's ``LoadAnnotations``, which cuts indices to 8 bits and takes what comes: a wrong one then
    ends in the loss, far from its file. Here it is one line that names the file.

    Needs ``seg_map_path``, ``ori_shape``, ``reduce_zero_label`` (true), ``label_map`` and ``seg_fields``; adds
    ``gt_seg_map`` (uint8, H x W).

    Args:
        num_classes: of the data as stored; ``metainfo.classes`` may name fewer, the others are ignored then.

    Raises:
        UserError: as :func:`~swinv2_dense.checks.index_maps.check_map`, the file cannot be decoded, or the data set
            has ``reduce_zero_label=False``.
    """

    def __init__(self, num_classes: int, backend_args: dict[str, Any] | None = None) -> None:
        self.num_classes, self.backend_args = num_classes, backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if not results["reduce_zero_label"]:
            raise UserError("LoadIndexMap takes 0 for 'other': give the data set reduce_zero_label=True")
        path = results["seg_map_path"]
        labels = decode_map(fileio.get(path, backend_args=self.backend_args), path)
        check_map(labels, path, results["ori_shape"], self.num_classes)
        results["gt_seg_map"] = self._table(results["label_map"])[labels.astype(np.uint8)]
        results["seg_fields"].append("gt_seg_map")
        return results

    def _table(self, label_map: dict[int, int] | None) -> np.ndarray:
        """Stored index -> label. ``label_map``: class of the data set -> class in training, where these are chosen."""
        labels = np.arange(self.num_classes) if label_map is None else [label_map[c] for c in range(self.num_classes)]
        return np.array([IGNORED, *labels], np.uint8)

"""Reading class maps in a pipeline of mmseg's. Needs mmcv; configs name it in ``custom_imports``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from swinv2_dense.checks.coco_file import MAX_PIXELS
from swinv2_dense.checks.index_maps import check_map, decode_map
from swinv2_dense.errors import UserError
from swinv2_dense.registry import TRANSFORMS

__all__ = ["LoadIndexMap"]

IGNORED = 255


@TRANSFORMS.register_module()
class LoadIndexMap(BaseTransform):
    """Reads a class map into labels 0 to ``num_classes`` - 1, 255 where ignored.

    In the place of mmseg's ``LoadAnnotations``, which cuts indices to 8 bits and takes what comes: a wrong one then
    ends in the loss, far from its file. Here it is one line that names the file.

    The data set's ``reduce_zero_label`` says what 0 is: with ``True`` "other", which is ignored, classes being stored
    as 1 to ``num_classes`` (ADE20K); with ``False`` the first class. Needs ``seg_map_path``, ``ori_shape``,
    ``reduce_zero_label``, ``label_map`` and ``seg_fields``; adds ``gt_seg_map`` (uint8, H x W). A sample without a map,
    as mmseg's inferencers make them, passes unchanged.

    Args:
        num_classes: of the data as stored; ``metainfo.classes`` may name fewer, the others are ignored then.
        ignored: further stored values that mean ignored pixels, such as ``(255,)``.
        max_pixels: of a map.

    Raises:
        UserError: as :func:`~swinv2_dense.checks.index_maps.check_map`; the file cannot be decoded; more labels than
            255; or an ignored value that is a class.
    """

    def __init__(
        self,
        num_classes: int,
        ignored: Sequence[int] = (),
        backend_args: dict[str, Any] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if wrong := [value for value in ignored if value < num_classes]:
            raise UserError(f"LoadIndexMap: ignored={wrong[0]} is one of the {num_classes} classes")
        self.num_classes, self.ignored = num_classes, tuple(ignored)
        self.backend_args, self.max_pixels = backend_args, max_pixels

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        path = results.get("seg_map_path")
        if path is None:
            return results
        has_other = bool(results["reduce_zero_label"])
        labels = decode_map(fileio.get(path, backend_args=self.backend_args), path, max_pixels=self.max_pixels)
        check_map(
            labels,
            path,
            results["ori_shape"],
            self.num_classes,
            has_other=has_other,
            ignored=self.ignored,
        )
        table = self._table(results["label_map"], has_other)
        # Values beyond the table are ignored ones, as its last entry is.
        results["gt_seg_map"] = table[np.minimum(labels, len(table) - 1)]
        results["seg_fields"].append("gt_seg_map")
        return results

    def _table(self, label_map: dict[int, int] | None, has_other: bool) -> np.ndarray:
        """Stored index -> label. ``label_map``: class of the data set -> class in training, where these are chosen."""
        if label_map is not None and len(label_map) != self.num_classes:
            raise UserError(
                f"LoadIndexMap has num_classes={self.num_classes}, but the data set's type has {len(label_map)} classes"
                f" in its maps, of which metainfo.classes names some: write num_classes={len(label_map)} there"
            )
        labels = list(range(self.num_classes)) if label_map is None else [label_map[c] for c in range(self.num_classes)]
        if label_map is None and self.num_classes > IGNORED:
            raise UserError(
                f"LoadIndexMap: num_classes={self.num_classes} is more than {IGNORED}, and mmseg ignores the label "
                f"{IGNORED}: name at most {IGNORED} of them in metainfo.classes of a data set type that has them all"
            )
        return np.array([*([IGNORED] if has_other else []), *labels, IGNORED], np.uint8)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_classes={self.num_classes}, ignored={self.ignored})"

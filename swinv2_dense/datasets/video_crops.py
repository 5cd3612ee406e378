"""Crops for multi-view testing. Needs mmcv: a config names this module in ``custom_imports``."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from swinv2_dense.errors import UserError
from swinv2_dense.registry import TRANSFORMS

__all__ = ["SpreadCrops"]


@TRANSFORMS.register_module()
class SpreadCrops(BaseTransform):
    """Square crops whose centres are spread evenly along the longer side of a clip, and lie midway along the shorter.

    The first and the last crop touch the ends; one crop is the centre crop. Stands where mmaction2's ThreeCrop does,
    after frames were resized to ``size`` along the shorter side. Reads and writes ``imgs`` (frames, H x W x C; all
    frames of the first crop come first), writes ``crop_bbox`` (a row x1, y1, x2, y2 for every frame) and ``img_shape``.

    Args:
        size: side of a crop, in pixels.
        count: crops; the paper's 5 of "4x5 views" (Kinetics-400).

    Raises:
        UserError: frames smaller than a crop.
    """

    def __init__(self, size: int, count: int = 5) -> None:
        if size < 1 or count < 1:
            raise UserError(f"SpreadCrops: size={size} and count={count} must be at least 1")
        self.size, self.count = size, count

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        frames = results["imgs"]
        height, width = frames[0].shape[:2]
        spare = np.array([height, width]) - self.size
        if spare.min() < 0:
            raise UserError(
                f"SpreadCrops: frames of {height} x {width} pixels hold no crop of {self.size}: put "
                f"dict(type='Resize', scale=(-1, {self.size})) before it"
            )
        shares = np.full((self.count, 2), 0.5)  # of the spare pixels (y, x) that lie before each crop
        if self.count > 1:
            shares[:, int(np.argmax(spare))] = np.linspace(0, 1, self.count)
        corners = np.round(shares * spare).astype(int)  # count x (y, x)
        results["imgs"] = [frame[y : y + self.size, x : x + self.size] for y, x in corners for frame in frames]
        boxes = np.concatenate([corners[:, ::-1], corners[:, ::-1] + self.size], axis=1)
        results["crop_bbox"] = np.repeat(boxes, len(frames), axis=0)
        results["img_shape"] = (self.size, self.size)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, count={self.count})"

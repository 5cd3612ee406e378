"""The masks of SimMIM. Importing this module imports mmcv; configs name it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from swinv2_dense.errors import UserError
from swinv2_dense.registry import TRANSFORMS

__all__ = ["BlockMask"]


@TRANSFORMS.register_module()
class BlockMask(BaseTransform):
    """Masks a share of an image's blocks, each of several tokens. The image may have any size: blocks at its far
    borders may be cut.

    Adds ``mask``, a tensor of ceil(H / h) x ceil(W / w) entries (1: masked) for tokens of h x w pixels.

    Args:
        mask_patch_size: pixels of a block, an int or (h, w), a multiple of the token's.
        model_patch_size: pixels of a token, an int or (h, w).
        ratio: share of the blocks that is masked, rounded up.
    """

    def __init__(
        self,
        mask_patch_size: int | Sequence[int] = 32,
        model_patch_size: int | Sequence[int] = 4,
        ratio: float = 0.6,
    ) -> None:
        self.block, self.token = (
            (size, size) if isinstance(size, int) else tuple(size) for size in (mask_patch_size, model_patch_size)
        )
        if any(b % t for b, t in zip(self.block, self.token, strict=True)):
            raise UserError(f"mask_patch_size={mask_patch_size} must be a multiple of {model_patch_size=}")
        if not 0 < ratio < 1:
            raise UserError(f"ratio={ratio} of masked blocks must lie between 0 and 1")
        self.ratio = ratio

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        size = results["img"].shape[:2]
        blocks = [math.ceil(s / b) for s, b in zip(size, self.block, strict=True)]
        count = math.prod(blocks)
        # mmengine seeds numpy's generator in every worker
        masked = np.random.permutation(count)[: math.ceil(count * self.ratio)]  # noqa: NPY002
        mask = np.isin(np.arange(count), masked).astype(np.int64).reshape(blocks)
        for axis, (s, b, t) in enumerate(zip(size, self.block, self.token, strict=True)):
            mask = mask.repeat(b // t, axis=axis).take(range(math.ceil(s / t)), axis=axis)
        results["mask"] = torch.from_numpy(mask)
        return results

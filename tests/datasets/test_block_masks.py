"""Masks: whole blocks, a share rounded up, any size of image, blocks and tokens; mmpretrain's where it has one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from swinv2_dense.datasets.block_masks import BlockMask
from swinv2_dense.errors import UserError


def mask_of(size: tuple[int, int], **options: object) -> np.ndarray:
    found = BlockMask(**options).transform({"img": np.zeros((*size, 3), np.uint8)})["mask"]  # type: ignore[arg-type]
    assert isinstance(found, torch.Tensor)
    return found.numpy()


@pytest.mark.parametrize(
    ("size", "block", "token"),
    [((192, 192), 32, 4), ((64, 128), 16, 4), ((100, 70), (32, 16), (4, 8)), ((30, 50), (4, 20), (4, 4))],
)
@pytest.mark.parametrize("ratio", [0.1, 0.6, 0.75])
def test_masks_whole_blocks(
    size: tuple[int, int], block: int | tuple[int, int], token: int | tuple[int, int], ratio: float
) -> None:
    mask = mask_of(size, mask_patch_size=block, model_patch_size=token, ratio=ratio)
    (bh, bw), (th, tw) = ((v, v) if isinstance(v, int) else v for v in (block, token))
    assert mask.shape == (math.ceil(size[0] / th), math.ceil(size[1] / tw))
    blocks = [
        mask[y : y + bh // th, x : x + bw // tw]
        for y in range(0, mask.shape[0], bh // th)
        for x in range(0, mask.shape[1], bw // tw)
    ]
    assert all(len(np.unique(b)) == 1 for b in blocks)
    assert sum(int(b.flat[0]) for b in blocks) == math.ceil(len(blocks) * ratio)


def test_is_mmpretrains_where_it_has_one() -> None:
    processing = pytest.importorskip("mmpretrain.datasets.transforms.processing", reason="needs the cls extra")
    np.random.seed(3)  # noqa: NPY002
    theirs = processing.SimMIMMaskGenerator().transform({})["mask"]
    np.random.seed(3)  # noqa: NPY002
    assert np.array_equal(mask_of((192, 192)), theirs)


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="mask_patch_size=30 must be a multiple of model_patch_size=4"):
        BlockMask(30)
    with pytest.raises(UserError, match="ratio=1"):
        BlockMask(ratio=1)

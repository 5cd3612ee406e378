"""Crops lie where they should: first and last at the ends, evenly between, midway along the shorter side."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

pytest.importorskip("mmcv", reason="crops are a transform of mmcv's kind")

from swinv2_dense.datasets.video_crops import SpreadCrops
from swinv2_dense.errors import UserError


def clip(height: int, width: int, frames: int = 3) -> dict:
    """Frames whose pixels tell their own place and frame."""
    y, x = np.mgrid[:height, :width]
    return {"imgs": [np.stack([y, x, np.full_like(y, t)], axis=-1) for t in range(frames)], "num_clips": 1}


@pytest.mark.parametrize(
    ("size", "count", "height", "width", "corners"),
    [
        (4, 5, 4, 12, [(0, 0), (0, 2), (0, 4), (0, 6), (0, 8)]),
        (4, 5, 12, 4, [(0, 0), (2, 0), (4, 0), (6, 0), (8, 0)]),  # portrait
        (4, 3, 6, 9, [(1, 0), (1, 2), (1, 5)]),  # both sides have pixels to spare: halves round to even
        (4, 5, 4, 4, [(0, 0)] * 5),
        (4, 1, 4, 12, [(0, 4)]),  # one crop is the centre crop
        (4, 2, 12, 5, [(0, 0), (8, 0)]),
    ],
)
def test_corners(size: int, count: int, height: int, width: int, corners: list[tuple[int, int]]) -> None:
    results = SpreadCrops(size, count)(clip(height, width))
    assert results["img_shape"] == (size, size)
    assert len(results["imgs"]) == 3 * count
    assert all(frame.shape == (size, size, 3) for frame in results["imgs"])
    # all frames of the first crop come first
    assert [tuple(frame[0, 0]) for frame in results["imgs"]] == [(*corner, t) for corner in corners for t in range(3)]
    assert [tuple(box) for box in results["crop_bbox"][::3]] == [(x, y, x + size, y + size) for y, x in corners]


def test_one_crop_is_mmactions_centre_crop() -> None:
    pytest.importorskip("av", reason="needs the video extra")
    importlib.import_module("swinv2_dense.compat.mmaction_imports")
    from mmaction.datasets.transforms import CenterCrop

    ours = SpreadCrops(4, 1)(clip(6, 12))
    theirs = CenterCrop(4)({**clip(6, 12), "img_shape": (6, 12)})
    assert all(np.array_equal(a, b) for a, b in zip(ours["imgs"], theirs["imgs"], strict=True))


def test_frames_smaller_than_a_crop_are_refused() -> None:
    with pytest.raises(UserError, match=r"3 x 12 pixels hold no crop of 4.*Resize"):
        SpreadCrops(4)(clip(3, 12))
    with pytest.raises(UserError, match="count=0"):
        SpreadCrops(4, 0)

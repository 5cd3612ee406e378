"""Class maps over images: classes in their colours, unlabelled pixels as they are, a file per tested image."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

structures = pytest.importorskip("mmseg.structures", reason="segmentation needs the seg extra")
from mmengine.structures import PixelData

from swinv2_dense.visualization.class_maps import ClassMaps, ClassMapsHook, draw_class_maps

CLASSES, PALETTE = ("wall", "sky"), ((250, 0, 0), (0, 0, 250))


def shares(path: Path) -> tuple[float, float]:
    """How much of a figure is reddish and bluish."""
    blue, _, red = (cv2.imread(str(path)).astype(int)[..., c] for c in range(3))
    return float((red - blue > 60).mean()), float((blue - red > 60).mean())


def test_classes_are_painted_and_the_rest_is_not(tmp_path: Path) -> None:
    image = np.full((40, 60, 3), 128, np.uint8)
    wall, sky, none = (np.full((40, 60), label, np.uint8) for label in (0, 1, 255))
    draw_class_maps([ClassMaps(image, wall, sky)], CLASSES, PALETTE, tmp_path / "a" / "both.png")
    draw_class_maps([ClassMaps(image, none, wall)], CLASSES, PALETTE, tmp_path / "a" / "unlabelled.png")
    draw_class_maps([ClassMaps(image, None, sky)] * 2, CLASSES, PALETTE, tmp_path / "a" / "no_truth.png")
    red, blue = shares(tmp_path / "a" / "both.png")
    assert red > 0.15
    assert blue == pytest.approx(red, rel=0.2)
    red_alone, no_blue = shares(tmp_path / "a" / "unlabelled.png")
    assert red_alone == pytest.approx(red, rel=0.2)
    assert no_blue == 0
    assert shares(tmp_path / "a" / "no_truth.png")[0] == 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["both.png", "no_truth.png", "unlabelled.png"]


def sample(path: Path) -> Any:
    cv2.imwrite(str(path), np.full((40, 60, 3), 128, np.uint8))
    result = structures.SegDataSample(metainfo={"img_path": str(path)})
    result.pred_sem_seg = PixelData(data=torch.zeros(1, 40, 60, dtype=torch.long))
    result.gt_sem_seg = PixelData(data=torch.ones(1, 40, 60, dtype=torch.uint8))
    return result


def test_the_hook_writes_a_file_for_every_image_if_told_to(tmp_path: Path) -> None:
    dataset = SimpleNamespace(metainfo={"classes": CLASSES, "palette": PALETTE})
    runner: Any = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset))
    samples = [sample(tmp_path / "one.jpg"), sample(tmp_path / "two.jpg")]
    out = tmp_path / "out"
    ClassMapsHook(test_out_dir=str(out)).after_test_iter(runner, 0, outputs=samples)
    assert not out.exists()
    ClassMapsHook(draw=True, test_out_dir=str(out)).after_test_iter(runner, 0, outputs=samples)
    assert sorted(path.name for path in out.iterdir()) == ["one.png", "two.png"]
    red, blue = shares(out / "one.png")
    assert red > 0.1
    assert blue > 0.1

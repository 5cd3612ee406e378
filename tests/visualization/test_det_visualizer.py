"""Drawings are mmdet's, but the same in every run, and leave the process's random numbers as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("mmdet", reason="needs the det extra")

from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

from swinv2_dense.demo.shapes import draw_scene
from swinv2_dense.registry import VISUALIZERS
from swinv2_dense.visualization.det_visualizer import DetVisualizer


@pytest.fixture
def scene() -> tuple[np.ndarray, DetDataSample]:
    """An image, RGB, and its objects: two of a class, which overlap, and one of another."""
    image = draw_scene(np.random.default_rng(0), (150, 200), 4).image
    masks = np.zeros((4, 150, 200), bool)
    masks[0, 10:60, 20:90] = masks[1, 40:120, 60:140] = masks[2, 100:150, 150:200] = True  # and an empty one
    boxes = torch.tensor([[20, 10, 90, 60], [60, 40, 140, 120], [150, 100, 200, 150], [5, 5, 9, 9.0]])
    found = InstanceData(bboxes=boxes, labels=torch.tensor([0, 0, 1, 1]), scores=torch.tensor([0.9, 0.8, 0.7, 0.6]))
    found.masks = torch.as_tensor(masks)
    return image, DetDataSample(pred_instances=found)


def drawing(visualizer: Any, scene: tuple[np.ndarray, DetDataSample], **options: Any) -> np.ndarray:
    visualizer.dataset_meta = {"classes": ("cat", "dog"), "palette": [(200, 30, 30), (30, 30, 200)]}
    visualizer.add_datasample("", scene[0], scene[1], draw_gt=False, **options)
    return np.asarray(visualizer.get_image())


def test_it_draws_what_mmdet_s_draws(scene: tuple[np.ndarray, DetDataSample]) -> None:
    np.random.seed(0)  # noqa: NPY002  where ours always starts
    theirs = drawing(DetLocalVisualizer(), scene).astype(int)
    ours = drawing(DetVisualizer(), scene).astype(int)
    difference = np.abs(ours - theirs).max(axis=2)
    assert difference.max() <= 3  # Matplotlib blends in whole numbers; a mask left out would be 50 and more
    assert np.abs(theirs - scene[0]).max() > 50


def test_masks_have_the_same_colours_every_time(scene: tuple[np.ndarray, DetDataSample]) -> None:
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random(2)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    visualizer = DetVisualizer()
    first = drawing(visualizer, scene)
    seen = [np.random.random()]  # noqa: NPY002  of the process's generator, untouched
    assert np.array_equal(drawing(visualizer, scene), first)
    assert np.array_equal(visualizer.drawn, first)
    assert [*seen, np.random.random()] == expected.tolist()  # noqa: NPY002
    one, other = first[50, 30].astype(int), first[100, 100].astype(int)
    assert np.abs(one - other).max() > 3  # two masks of a class can be told apart


def test_one_mask_and_names_of_colours(scene: tuple[np.ndarray, DetDataSample]) -> None:
    visualizer, image = DetVisualizer(), np.full((8, 8, 3), 100, np.uint8)
    visualizer.set_image(image)
    mask = np.zeros((8, 8), bool)
    mask[2:4, 5:] = True
    visualizer.draw_binary_masks(mask, colors="r", alphas=0.5)
    drawn = visualizer.get_image()
    assert drawn[3, 6].tolist() == [178, 50, 50]
    assert (drawn[~mask] == 100).all()
    assert (image == 100).all()


@pytest.mark.parametrize("place", [(190, 20), (20, 146), (195, 147), (0, 0)])
def test_names_at_the_edge_are_moved_inside(place: tuple[int, int]) -> None:
    visualizer = DetVisualizer()
    visualizer.set_image(np.full((150, 200, 3), 100, np.uint8))
    visualizer.draw_texts("traffic light", np.array(place), font_sizes=8)
    extent = visualizer.ax_save.texts[0].get_window_extent()
    assert extent.x0 >= 0
    assert extent.y0 >= 0
    assert extent.x1 <= 200.5
    assert extent.y1 <= 150.5


def test_letters_and_lines_grow_with_the_image() -> None:
    sizes = []
    for scale in (1, 2, 4):
        visualizer = DetVisualizer()
        visualizer.set_image(np.zeros((700 * scale, 800 * scale, 3), np.uint8))
        visualizer.draw_texts("cat", np.array([10, 10]), font_sizes=13)
        sizes.append((visualizer.ax_save.texts[0].get_fontsize(), visualizer.line_width))
    assert sizes == [(13, 3), (26, 6), (52, 12)]


def test_a_config_finds_it() -> None:
    assert VISUALIZERS.get("swinv2_dense.DetVisualizer") is DetVisualizer

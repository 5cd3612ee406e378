"""InstaBoost: what is painted and what is annotated agree, nothing is lost, real and generated data go through."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("mmdet", reason="needs the det extra")

from mmdet.datasets import CocoDataset
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from swinv2_dense.datasets.instaboost import InstaBoost
from swinv2_dense.demo.shapes import CLASSES
from swinv2_dense.demo.shapes_coco import write_shapes_coco
from swinv2_dense.errors import UserError

GROUND, OBJECT, CROWD = (30, 30, 30), (200, 60, 60), (60, 60, 200)
STUFF, THING = 7, 3  # labels of the semantic map
POLYGON = [np.array([30.0, 20, 60, 24, 56, 52, 44, 40, 28, 50])]
PARTS = [np.array([90.0, 60, 110, 60, 110, 80, 90, 80]), np.array([90.0, 90, 104, 86, 112, 100])]
EDGE = [np.array([0.0, 70, 26, 70, 26, 100, 0, 100])]


def scene(*objects: list[np.ndarray], ignored: tuple[int, ...] = (), bitmaps: bool = False) -> dict[str, Any]:
    """What LoadAnnotations gives: flat objects on a flat ground, 120 x 140."""
    size = (120, 140)
    masks = PolygonMasks([[p.copy() for p in polygons] for polygons in objects], *size)
    img, seg = np.full((*size, 3), GROUND, np.uint8), np.full(size, STUFF, np.uint8)
    for index, bitmap in enumerate(masks.to_ndarray()):
        img[bitmap] = CROWD if index in ignored else OBJECT
        seg[bitmap] = THING
    points = [np.concatenate(polygons).reshape(-1, 2) for polygons in objects]
    boxes = np.array([[*p.min(0), *p.max(0)] for p in points], np.float32).reshape(-1, 4)
    return {
        "img": img,
        "gt_bboxes": HorizontalBoxes(boxes),
        "gt_bboxes_labels": np.arange(len(objects)),
        "gt_ignore_flags": np.array([index in ignored for index in range(len(objects))], bool),
        "gt_masks": BitmapMasks(masks.to_ndarray().astype(np.uint8), *size) if bitmaps and objects else masks,
        "gt_seg_map": seg,
    }


def square(x: int, y: int, side: int) -> np.ndarray:
    return np.array([x, y, x + side, y, x + side, y + side, x, y + side], float)


def always(**options: Any) -> InstaBoost:
    return InstaBoost(**{"aug_ratio": 1.0, "color_prob": 0.0, **options})


def coverage(results: dict[str, Any]) -> np.ndarray:
    return results["gt_masks"].to_ndarray().astype(bool)


def tight_box(mask: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Around polygons to the digit, around a bitmap to the pixel."""
    if isinstance(mask, list):
        points = np.concatenate(mask).reshape(-1, 2)
        return np.array([*points.min(0), *points.max(0)])
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("bitmaps", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_picture_boxes_and_semantic_map_follow_the_masks(seed: int, bitmaps: bool) -> None:
    random.seed(seed)
    before = scene(POLYGON, PARTS, EDGE, bitmaps=bitmaps)
    after = always(scale=(0.8, 1.2), dx=5, dy=5, theta=(-10, 10)).transform(
        scene(POLYGON, PARTS, EDGE, bitmaps=bitmaps)
    )
    assert np.array_equal(after["gt_bboxes_labels"], before["gt_bboxes_labels"])
    assert np.array_equal(after["gt_ignore_flags"], before["gt_ignore_flags"])
    masks = coverage(after)
    assert len(masks) == 3
    assert (coverage(before) != masks).any(axis=(1, 2)).sum() >= 2  # something was done
    # Away from the outlines an object's pixels have its colour and the others the ground's: no ghost stays behind.
    whole = masks.any(0).astype(np.uint8)
    inside, outside = cv2.erode(whole, np.ones((5, 5))) > 0, cv2.dilate(whole, np.ones((5, 5))) == 0
    assert np.all(after["img"][inside] == OBJECT)
    assert np.all(after["img"][outside] == GROUND)
    assert np.all(after["gt_seg_map"][inside] == THING)
    old = coverage(before).any(0)
    assert np.all(after["gt_seg_map"][outside & old] == 255)
    assert np.all(after["gt_seg_map"][outside & ~old] == STUFF)
    boxes = after["gt_bboxes"].tensor.numpy()
    np.testing.assert_allclose(boxes, [tight_box(mask) for mask in after["gt_masks"].masks], atol=1e-3)
    assert boxes.min() >= 0
    assert np.all(boxes[:, 2:] <= (140, 120))


def test_polygons_and_bitmaps_move_alike() -> None:
    found = []
    for bitmaps in (False, True):
        random.seed(3)
        found.append(coverage(always(dx=5, dy=5, theta=(-10, 10)).transform(scene(POLYGON, PARTS, bitmaps=bitmaps))))
    assert (found[0] != found[1]).sum() < 0.05 * found[0].sum()  # rounding at the outlines


@pytest.mark.parametrize("bitmaps", [False, True])
def test_without_jitter_nothing_moves(bitmaps: bool) -> None:
    random.seed(0)
    still = always(scale=(1, 1), dx=1e9, dy=1e9, theta=(0, 0))
    before, after = (scene(POLYGON, PARTS, bitmaps=bitmaps) for _ in range(2))
    after = still.transform(after)
    assert np.array_equal(coverage(after), coverage(before))
    assert np.abs(after["img"].astype(int) - before["img"]).max() <= 1
    np.testing.assert_allclose(after["gt_bboxes"].tensor, before["gt_bboxes"].tensor, atol=1 if bitmaps else 1e-3)
    assert np.array_equal(after["gt_seg_map"], before["gt_seg_map"])


def test_objects_whose_boxes_overlap_move_together() -> None:
    """Directly or through others: a chain of four, of which only neighbours overlap, and one that stands apart."""
    random.seed(1)
    chain = [[square(30 + 12 * link, 30, 15)] for link in range(4)]
    before = scene(*chain, PARTS)["gt_masks"].masks
    after = always(scale=(1, 1), theta=(0, 0), dx=5, dy=5).transform(scene(*chain, PARTS))["gt_masks"].masks
    shifts = np.array([(new[0] - old[0])[:2] for new, old in zip(after, before, strict=True)])
    np.testing.assert_allclose(shifts[1:4], shifts[[0, 0, 0]], atol=1e-6)
    assert np.abs(shifts[0]).max() > 0.1
    assert np.abs(shifts[4] - shifts[0]).max() > 0.1


@pytest.mark.parametrize("seed", range(8))
def test_no_object_is_pasted_over_another(seed: int) -> None:
    random.seed(seed)
    close = [[square(30, 40, 25)], [square(57, 40, 25)], [square(84, 40, 25)]]
    after = always(scale=(0.9, 1.3), dx=2, dy=2).transform(scene(*close))
    masks = cv2.erode(coverage(after).astype(np.uint8).transpose(1, 2, 0), np.ones((3, 3)))  # outlines are rounded
    assert masks.sum(axis=2).max() == 1


@pytest.mark.parametrize("seed", range(10))
def test_objects_at_the_edge_stay_there(seed: int) -> None:
    """An object that the picture cuts off must not show its cut."""
    random.seed(seed)
    after = always(dx=3, dy=3, theta=(-20, 20)).transform(scene(EDGE))
    mask = coverage(after)[0]
    rows = np.flatnonzero(mask[:, 0])
    assert len(rows) >= 30
    assert len(rows) == rows[-1] - rows[0] + 1
    assert np.array_equal(mask.any(axis=1), mask[:, 0])


def test_ignored_objects_stay() -> None:
    random.seed(0)
    before, after = scene(POLYGON, PARTS, ignored=(1,)), scene(POLYGON, PARTS, ignored=(1,))
    after = always(dx=3, dy=3).transform(after)
    assert np.array_equal(coverage(after)[1], coverage(before)[1])
    assert np.array_equal(after["gt_bboxes"].tensor[1], before["gt_bboxes"].tensor[1])
    assert np.array_equal(after["img"][coverage(before)[1]], before["img"][coverage(before)[1]])
    assert not np.array_equal(coverage(after)[0], coverage(before)[0])


@pytest.mark.parametrize("ignored", [None, 0])
def test_pictures_without_movable_objects_pass_unchanged(ignored: int | None) -> None:
    results = scene() if ignored is None else scene(POLYGON, ignored=(0,))
    img = results["img"].copy()
    after = always(color_prob=1.0).transform(results)
    assert np.array_equal(after["img"], img)
    assert len(after["gt_masks"]) == (ignored is not None)


def test_colours_change_only_if_asked() -> None:
    random.seed(0)
    still: dict[str, Any] = {"scale": (1, 1), "dx": 1e9, "dy": 1e9, "theta": (0, 0)}
    after = always(**still, color_prob=1.0).transform(scene(POLYGON))
    assert after["img"].dtype == np.uint8
    assert np.abs(after["img"].astype(int) - scene(POLYGON)["img"]).max() > 20
    random.seed(0)
    assert np.array_equal(
        InstaBoost(aug_ratio=0.0, color_prob=1.0).transform(scene(POLYGON))["img"], scene(POLYGON)["img"]
    )


def test_wrong_place_in_the_pipeline_is_named() -> None:
    with pytest.raises(UserError, match="InstaBoost belongs right behind LoadAnnotations"):
        always().transform({"img": np.zeros((4, 4, 3), np.uint8)})


def pipeline(poly2mask: bool, with_seg: bool) -> list[dict[str, Any]]:
    return [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True, "poly2mask": poly2mask, "with_seg": with_seg},
        {"type": "swinv2_dense.InstaBoost", "aug_ratio": 1.0},
        {"type": "PackDetInputs"},
    ]


def check_loaded(dataset: CocoDataset, workers: int = 0) -> int:
    """Every picture through the pipeline; returns how many objects changed their box."""
    changed = 0
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=lambda data: data)
    for index, data in enumerate(loader):
        wanted = dataset.get_data_info(index)["instances"]
        sample, ignored = data["data_samples"].gt_instances, data["data_samples"].ignored_instances
        assert data["inputs"].dtype == torch.uint8
        assert len(sample.bboxes) == len(sample.masks) == len(sample.labels)
        assert len(sample.labels) + len(ignored.labels) == len(wanted)
        free = [instance for instance in wanted if not instance["ignore_flag"]]
        if len(free) != len(sample.labels):  # broken polygons, which LoadAnnotations ignores
            continue
        assert [instance["bbox_label"] for instance in free] == sample.labels.tolist()
        for instance, box, mask in zip(free, sample.bboxes.tensor.numpy(), sample.masks.masks, strict=True):
            if np.abs(box - instance["bbox"]).max() > 0.5:
                changed += 1
                np.testing.assert_allclose(box, tight_box(mask), atol=1e-3)
    return changed


@pytest.mark.parametrize("poly2mask", [False, True])
def test_generated_data_in_worker_processes(tmp_path: Path, poly2mask: bool) -> None:
    """With several polygons per object, a crowd, a picture without annotations, and semantic maps."""
    write_shapes_coco(tmp_path / "data", train=10, val=1, side=96)
    init_default_scope("mmdet")
    dataset = CocoDataset(
        data_root=str(tmp_path / "data"),
        ann_file="annotations/instances_train2017.json",
        data_prefix={"img": "train2017/", "seg": "stuffthingmaps/train2017/"},
        metainfo={"classes": CLASSES},
        pipeline=pipeline(poly2mask, with_seg=True),
    )
    assert check_loaded(dataset, workers=2) > 10


@pytest.mark.parametrize(("poly2mask", "count", "least"), [(False, 50, 200), (True, 10, 40)])
def test_real_data(poly2mask: bool, count: int, least: int) -> None:
    root = Path(os.environ.get("COCO_ROOT", Path(__file__).parents[3] / "shared" / "data" / "coco"))
    if not (root / "annotations" / "instances_train2017.json").is_file():
        pytest.skip(f"no COCO data at {root} (COCO_ROOT)")
    random.seed(0)
    init_default_scope("mmdet")
    dataset = CocoDataset(
        data_root=str(root),
        ann_file="annotations/instances_train2017.json",
        data_prefix={"img": "train2017/"},
        indices=count,
        pipeline=pipeline(poly2mask, with_seg=False),
    )
    assert len(dataset) == count
    assert check_loaded(dataset) > least

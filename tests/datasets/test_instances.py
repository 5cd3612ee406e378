"""LoadInstances: run lengths of single objects become polygons of exactly the same pixels; crowds stay ignored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swinv2_dense.errors import UserError

pytest.importorskip("mmdet", reason="needs the det extra")

from mmdet.datasets.transforms import LoadAnnotations
from mmdet.structures.mask import PolygonMasks
from pycocotools import mask as run_lengths

from swinv2_dense.datasets.instances import LoadInstances, outlines

HEIGHT, WIDTH = 40, 56


def ring() -> np.ndarray:
    """A disc with two holes, one of them touching its edge by a corner, and a speck apart."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    mask = ((x - 25) ** 2 + (y - 20) ** 2 < 17**2).astype(np.uint8)
    mask[12:20, 15:24] = 0
    mask[25:28, 30:33] = 0
    mask[2:4, 50:54] = 1
    return mask


def compressed(mask: np.ndarray) -> dict[str, Any]:
    encoded = run_lengths.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    cells = np.concatenate([[0], mask.ravel(order="F")])
    return {"size": list(mask.shape), "counts": np.diff([0, *np.flatnonzero(np.diff(cells)), mask.size]).tolist()}


def sample(*masks: Any, ignored: bool = False) -> dict[str, Any]:
    instances = [{"bbox": [1, 1, 30, 30], "bbox_label": 0, "mask": m, "ignore_flag": int(ignored)} for m in masks]
    return {"ori_shape": (HEIGHT, WIDTH), "img_path": "a.jpg", "instances": instances}


@pytest.mark.parametrize("density", [0.03, 0.4, 0.6, 0.97])
def test_outlines_give_back_the_same_pixels(density: float) -> None:
    rng = np.random.default_rng(int(100 * density))
    for height, width in ((1, 1), (1, 9), (7, 1), (23, 31)):
        mask = (rng.random((height, width)) < density).astype(np.uint8)
        polygons = list(outlines(mask))
        assert bool(polygons) == bool(mask.any())
        if polygons:
            merged = run_lengths.merge(run_lengths.frPyObjects(polygons, height, width))
            assert np.array_equal(run_lengths.decode(merged), mask)


@pytest.mark.parametrize("write", [compressed, uncompressed])
def test_run_lengths_of_single_objects_become_polygons(write: Any) -> None:
    square = [[2.0, 2.0, 9.0, 2.0, 9.0, 9.0, 2.0, 9.0]]
    results = LoadInstances(with_bbox=True, with_mask=True, poly2mask=False)(sample(write(ring()), square))
    assert isinstance(results["gt_masks"], PolygonMasks)
    assert results["gt_ignore_flags"].tolist() == [False, False]
    first, second = results["gt_masks"].to_bitmap().masks
    assert np.array_equal(first, ring())
    assert np.array_equal(results["gt_masks"].masks[1][0], square[0])
    assert second.sum() == 49
    # What mmdet makes of it: an ignored object without a mask.
    plain = LoadAnnotations(with_bbox=True, with_mask=True, poly2mask=False)(sample(write(ring())))
    assert plain["gt_ignore_flags"].tolist() == [True]


def test_holes_outlast_a_crop() -> None:
    results = LoadInstances(with_bbox=True, with_mask=True, poly2mask=False)(sample(compressed(ring())))
    cropped = results["gt_masks"].crop(np.array([10.0, 8.0, 40.0, 33.0])).to_bitmap().masks[0]
    assert np.array_equal(cropped, ring()[8:33, 10:40])


def test_crowds_and_empty_masks_are_ignored() -> None:
    load = LoadInstances(with_bbox=True, with_mask=True, poly2mask=False)
    assert load(sample(compressed(ring()), ignored=True))["gt_ignore_flags"].tolist() == [True]
    empty = compressed(np.zeros((HEIGHT, WIDTH), np.uint8))
    assert load(sample(empty, compressed(ring())))["gt_ignore_flags"].tolist() == [True, False]


def test_bitmaps_are_as_mmdet_makes_them_and_the_data_are_not_changed() -> None:
    given = sample(compressed(ring()))
    kept = given["instances"][0]
    bitmaps = LoadInstances(with_bbox=True, with_mask=True)(given)["gt_masks"]
    assert np.array_equal(bitmaps.masks[0], ring())
    LoadInstances(with_bbox=True, with_mask=True, poly2mask=False)(given)
    assert kept["mask"] == compressed(ring())


@pytest.mark.parametrize("poly2mask", [False, True])
@pytest.mark.parametrize(
    ("mask", "told"),
    [
        ([[1, 1, 1e9, 1, 1e9, 1e9]], "polygon outside the image"),
        ([[1, 1, float("nan"), 1, 5, 5]], "broken polygon"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "run lengths of another size"),
        ({"size": [HEIGHT, WIDTH], "counts": "~~~~"}, "broken run lengths"),
        ({"size": [HEIGHT, WIDTH], "counts": [7, 10**9]}, "broken run lengths"),
        ("text", "neither polygons nor run lengths"),
        (None, "has no mask"),
    ],
)
def test_what_native_code_would_crash_on_is_refused(mask: Any, told: str, poly2mask: bool) -> None:
    load = LoadInstances(with_bbox=True, with_mask=True, poly2mask=poly2mask)
    with pytest.raises(UserError, match=f"{told}.* a.jpg|a.jpg.*{told}"):
        load(sample(mask))


def test_samples_without_annotations_pass() -> None:
    results = LoadInstances(with_bbox=True, with_mask=True, poly2mask=False)({"ori_shape": (4, 4)})
    assert len(results["gt_masks"]) == 0

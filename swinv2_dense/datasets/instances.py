"""Objects of a COCO-format data set for training. Needs mmdet: configs name this module in ``custom_imports``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from mmdet.datasets.transforms import LoadAnnotations

from swinv2_dense.checks.segmentations import filled, segmentation_problem
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.registry import TRANSFORMS

__all__ = ["LoadInstances", "outlines"]


@TRANSFORMS.register_module()
class LoadInstances(LoadAnnotations):
    """mmdet's ``LoadAnnotations``, for masks given as run lengths as well as for polygons.

    With ``poly2mask=False`` mmdet takes every object given by run lengths for a crowd and ignores it, so that exports
    of SAM, CVAT or Label Studio train with losses of 0. Here run lengths of single objects become polygons along the
    edges of their pixels, which give back exactly the same pixels. Crowds stay ignored; so does an object without any
    pixel.

    Raises:
        UserError: a polygon or run lengths that are not the image's, which native code would crash on.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if self.with_mask and results.get("instances"):
            results["instances"] = [self._prepared(instance, results) for instance in results["instances"]]
        return super().transform(results)

    def _prepared(self, instance: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
        """An object whose mask mmdet understands; a copy where it is changed, as data sets may keep theirs."""
        mask, path = instance.get("mask"), shown(results.get("img_path"))
        if mask is None:
            raise UserError(f"an object of {path} has no mask, which this config trains on: add it, or train on boxes")
        height, width = results["ori_shape"]
        if problem := segmentation_problem(mask, height, width):
            raise UserError(f"{problem[0]} in the annotations of {path} ({problem[1]}): correct them")
        if isinstance(mask, list) or self.poly2mask:
            return instance
        if instance["ignore_flag"]:
            return instance  # a crowd: mmdet puts a mask without extent in its place
        polygons = list(outlines(filled(mask, height, width).astype(np.uint8)))
        return {**instance, "mask": polygons, "ignore_flag": int(not polygons)}


def outlines(mask: np.ndarray) -> Iterator[list[float]]:
    """Polygons ``[x, y, x, y, ...]`` around the pixels of a mask (uint8, H x W), along the pixels' edges.

    Their union is the mask, to the pixel, for COCO's rasteriser. A polygon has no hole: parts with holes are cut
    through them, as polygons in COCO's format cannot say what is a hole.
    """
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    for part in range(1, count):
        x, y, width, height = stats[part, :4].tolist()
        yield from _outlines_of_part((parts[y : y + height, x : x + width] == part).astype(np.uint8), x, y)


def _outlines_of_part(part: np.ndarray, x: int, y: int) -> Iterator[list[float]]:
    """Of a connected part whose bounding box begins at (x, y)."""
    # At twice the size a contour, which runs through pixels' centres, tells a pixel's two edges apart: 2i and 2i + 1
    # are the edges i and i + 1.
    doubled = cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    doubled = cv2.copyMakeBorder(doubled, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    holes = [contour for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True) if parent >= 0]
    if not holes:
        for contour in contours:
            yield ((contour.reshape(-1, 2)) // 2 + (x, y)).ravel().astype(float).tolist()
        return
    left, _, width, _ = cv2.boundingRect(holes[0])
    cut = (left + width // 2) // 2
    for begin, end in ((0, cut), (cut, part.shape[1])):
        half = np.zeros_like(part)
        half[:, begin:end] = part[:, begin:end]
        for polygon in outlines(half):
            yield (np.array(polygon).reshape(-1, 2) + np.array([x, y])).ravel().tolist()

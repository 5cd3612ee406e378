"""A generated data set of drawn shapes in COCO's format and with COCO's folder names.

    ROOT/annotations/instances_{train,val}2017.json   polygons, crowds as run lengths, some images without instances
    ROOT/{train,val}2017/000000000001.jpg
    ROOT/stuffthingmaps/{train,val}2017/000000000001.png   category id - 1 of every pixel, as in COCO-Stuff

Shapes are "things" with ids from 1, the kinds of ground are "stuff" with the ids after them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from swinv2_dense.demo.generated import put_image, write_once
from swinv2_dense.demo.shapes import CLASSES, Instance, Scene, draw_scene
from swinv2_dense.progress import Progress, silent

__all__ = ["write_shapes_coco"]

_RECIPE = "shapes.json"  # what the folder was made from; also marks it as ours
_VERSION = 1  # to be raised whenever the same arguments give other images
_CROWD_EVERY = 8  # images
_EMPTY_EVERY = 50  # the second image has a crowd and the third is empty, so that small sets have both


def write_shapes_coco(
    root: str | os.PathLike[str],
    *,
    train: int = 300,
    val: int = 50,
    side: int = 160,
    seed: int = 0,
    progress: Progress = silent,
) -> bool:
    """Write the data set unless ``root`` already holds it; return whether anything was written.

    Images are between 3/4 ``side`` and ``side`` pixels high and wide. The same arguments give the same files. A data
    set made by this function from other arguments is replaced. The folder appears under its name only when complete.

    Raises UserError when ``root`` exists and is something else.
    """

    def write(folder: Path) -> None:
        for number, (split, first, count) in enumerate((("train2017", 0, train), ("val2017", train, val))):
            for done in _write_split(folder, split, count, side, np.random.default_rng([seed, number])):
                progress("drawing images", first + done, train + val)

    recipe = {"version": _VERSION, "train": train, "val": val, "side": side, "seed": seed}
    return write_once(root, _RECIPE, recipe, write)


def _write_split(root: Path, split: str, count: int, side: int, rng: np.random.Generator) -> Iterator[int]:
    """Yields the number of images that it has written, after each."""
    image_folder, maps = root / split, root / "stuffthingmaps" / split
    for folder in (image_folder, maps, root / "annotations"):
        folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, count + 1):
        size = (int(rng.integers(side * 3 // 4, side + 1)), int(rng.integers(side * 3 // 4, side + 1)))
        shapes = 0 if image_id % _EMPTY_EVERY == 3 else int(rng.integers(2, 7))
        scene = draw_scene(rng, size, shapes, crowd=image_id % _CROWD_EVERY == 2)
        name = f"{image_id:012d}"
        put_image(image_folder / f"{name}.jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        put_image(maps / f"{name}.png", _semantic_map(scene))
        images.append({"id": image_id, "file_name": f"{name}.jpg", "height": size[0], "width": size[1]})
        for instance in scene.instances:
            fields = _crowd_fields(instance) if instance.crowd else _polygon_fields(instance)
            if fields["segmentation"]:
                common = {"id": len(annotations) + 1, "image_id": image_id, "category_id": instance.category + 1}
                annotations.append({**common, "iscrowd": int(instance.crowd), **fields})
        yield image_id
    categories = [{"id": i, "name": name, "supercategory": "shape"} for i, name in enumerate(CLASSES, start=1)]
    content = {
        "info": {"description": "drawn shapes"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _polygon_fields(instance: Instance) -> dict[str, Any]:
    """COCO's fields of an instance given by polygons; no polygons when next to nothing of it is visible."""
    outlines = [outline.round(2) for outline in instance.polygons()]
    if not outlines:
        return {"segmentation": []}
    low, high = np.concatenate(outlines).min(axis=0), np.concatenate(outlines).max(axis=0)
    return {
        "segmentation": [outline.ravel().tolist() for outline in outlines],
        "area": float(instance.mask.sum()),
        "bbox": [*low.tolist(), *(high - low).tolist()],
    }


def _crowd_fields(instance: Instance) -> dict[str, Any]:
    mask = instance.mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    corner, end = (columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)
    return {
        "segmentation": {"size": list(mask.shape), "counts": _run_lengths(mask)},
        "area": float(mask.sum()),
        "bbox": [float(v) for v in (*corner, end[0] - corner[0], end[1] - corner[1])],
    }


def _run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths: down the columns, beginning with (perhaps no) background."""
    cells = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(np.diff(cells))
    return np.diff([0, *changes, mask.size]).tolist()


def _semantic_map(scene: Scene) -> np.ndarray:
    labels = np.full(scene.image.shape[:2], len(CLASSES) + scene.ground, np.uint8)
    for instance in scene.instances:
        labels[instance.mask] = instance.category
    return labels

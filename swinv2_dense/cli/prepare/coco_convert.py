"""Files that a COCO-style data set lacks: Objects365's image paths as they are on disk, and semantic maps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from swinv2_dense.checks.coco_file import check_tables, is_id, read_coco
from swinv2_dense.checks.findings import Finding, raise_first
from swinv2_dense.checks.segmentations import filled, segmentation_problem
from swinv2_dense.errors import UserError
from swinv2_dense.files import encode_image, shown, walk, within, write_text, writing_folder
from swinv2_dense.progress import Progress, counted, silent

__all__ = ["convert_objects365", "order_categories", "write_semantic_maps"]

_UNLABELLED = 255
_REMEDY = "correct it; swinv2 prepare coco check lists all"
# Annotated, but in none of the published archives.
_NEVER_PUBLISHED = {"objects365_v2_00908726.jpg", "objects365_v1_00320532.jpg", "objects365_v1_00320534.jpg"}


def convert_objects365(
    annotations: Path,
    images: Path,
    out: Path,
    *,
    drop_missing: bool = False,
    progress: Progress = silent,
) -> list[str]:
    """Write Objects365 v2's annotations again, with every ``file_name`` relative to the folder that has the images.

    They are published as ``images/v2/patch16/objects365_v2_00908726.jpg``, while the archives unpack to ``patch16/``;
    any layout is found, by the file's name. The three images that no archive holds are always left out.

    Args:
        annotations: e.g. ``zhiyuan_objv2_train.json``; it is not changed.
        images: the folder that the archives were unpacked in.
        out: the file to write.
        drop_missing: leave all missing images out, with their annotations; for a part of the data.

    Returns:
        the published names of the images that were left out.

    Raises:
        UserError: a file or folder does not exist, ``out`` does, or images are missing.
    """
    if out.exists():
        raise UserError(f"{out} exists: remove it, or name another file with --out")
    content = read_coco(annotations)
    if not images.is_dir():
        raise UserError(f"{images} is no folder: unpack the patch*.tar.gz of Objects365 v2 there, or correct --images")
    raise_first(check_tables(content, str(annotations)), "it is not as published: download it again", warnings=False)
    on_disk = {name: os.path.relpath(folder, images) for folder, names in walk(images) for name in names}
    kept, missing = [], []
    for image in counted(content["images"], "images", progress, every=1000):
        name = os.path.basename(image["file_name"])
        if name in on_disk:
            kept.append({**image, "file_name": os.path.normpath(os.path.join(on_disk[name], name))})
        else:
            missing.append(image["file_name"])
    unexpected = [name for name in missing if os.path.basename(name) not in _NEVER_PUBLISHED]
    if unexpected and not drop_missing:
        raise UserError(
            f"{images} lacks {len(unexpected)} of {len(content['images'])} images, the first is {unexpected[0]}: "
            "complete it, or leave them out with --drop-missing"
        )
    if not kept:
        raise UserError(f"{images} holds none of the {len(content['images'])} images: correct --images")
    ids = {image["id"] for image in kept}
    left = [annotation for annotation in content["annotations"] if annotation.get("image_id") in ids]
    # The published files have them in different orders, and labels follow the order.
    categories = sorted(content["categories"], key=lambda category: category["id"])
    write_text(out, json.dumps({**content, "images": kept, "annotations": left, "categories": categories}))
    return missing


def order_categories(annotations: Path, like: Path, out: Path) -> None:
    """Write annotations again, with their categories in the order of another file's, which is that of the labels.

    Raises:
        UserError: a file cannot be read, ``out`` exists, or the files have different categories.
    """
    if out.exists():
        raise UserError(f"{out} exists: remove it, or name another file with --out")
    content, model = read_coco(annotations), read_coco(like)
    for file, tables in ((annotations, content), (like, model)):
        named = (finding for finding in check_tables(tables, str(file)) if finding.kind.startswith("category"))
        raise_first(named, "correct it", warnings=False)
    by_name = {category.get("name"): category for category in content["categories"]}
    names = [category.get("name") for category in model["categories"]]
    if len(by_name) != len(content["categories"]) or set(names) != set(by_name) or len(names) != len(by_name):
        raise UserError(f"{annotations} and {like} have different categories, or one twice: no order makes them equal")
    write_text(out, json.dumps({**content, "categories": [by_name[name] for name in names]}))


def write_semantic_maps(root: Path, split: str, *, progress: Progress = silent) -> int:
    """Write ``ROOT/stuffthingmaps/SPLIT`` from ``ROOT/annotations/instances_SPLIT.json``; returns the number of maps.

    As COCO-Stuff's: 8-bit, category id - 1, 255 where nothing is labelled. For data without stuff, where HTC's semantic
    branch then learns the things alone. Of overlapping objects the smaller one is in front.

    Raises:
        UserError: the maps exist, the annotations do not, or a category id is not between 1 and 255.
    """
    folder = root / "stuffthingmaps" / split
    if folder.exists():
        raise UserError(f"{folder} exists: remove it to have it made again")
    file = root / "annotations" / f"instances_{split}.json"
    content = read_coco(file)
    for category in content["categories"]:
        if is_id(category.get("id")) and not 1 <= category["id"] <= _UNLABELLED:
            raise UserError(f"category id {category['id']} ({category.get('name')}) has no place in an 8-bit map")
    raise_first(check_tables(content, str(file)), "correct the annotations", warnings=False)
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        image_id = annotation.get("image_id")
        if not is_id(image_id) or image_id not in by_image:
            raise_first([Finding("unknown image", str(file), image=image_id, annotation=annotation.get("id"))], _REMEDY)
        if annotation.get("segmentation"):
            by_image[image_id].append(annotation)
    if content["annotations"] and not any(by_image.values()):
        raise UserError(f"{file} has no masks, from which the maps are made: add a segmentation to every annotation")
    _check_names(file, content["images"])
    known = {category["id"] for category in content["categories"]}
    with writing_folder(folder) as work:
        for image in counted(content["images"], split, progress):
            path = within(work, image["file_name"], "file_name").with_suffix(".png")
            _check_objects(file, image, by_image[image["id"]], known)
            labels = _semantic_map(image["height"], image["width"], by_image[image["id"]])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_image(path, labels))
    return len(content["images"])


def _check_names(file: Path, images: list[dict[str, Any]]) -> None:
    """Refuse images that would have the same map, of which the last one's would be left."""
    seen: dict[Path, str] = {}
    for image in images:
        name = image["file_name"]
        path = Path(name).with_suffix(".png")
        if path in seen:
            raise UserError(
                f"{file} has images {shown(seen[path])} and {shown(name)}, whose map would be one file: rename one"
            )
        seen[path] = name


def _check_objects(file: Path, image: dict[str, Any], annotations: list[dict[str, Any]], categories: set[int]) -> None:
    """Refuse what would crash pycocotools or fill the memory, and categories that do not exist."""
    for annotation in annotations:
        problem = segmentation_problem(annotation["segmentation"], image["height"], image["width"])
        if not is_id(annotation.get("category_id")) or annotation["category_id"] not in categories:
            problem = ("unknown category", f"category_id {annotation.get('category_id')!r}", True)
        if problem:
            finding = Finding(problem[0], str(file), problem[1], image=image["id"], annotation=annotation.get("id"))
            raise_first([finding], _REMEDY)


def _semantic_map(height: int, width: int, annotations: list[dict[str, Any]]) -> np.ndarray:
    labels = np.full((height, width), _UNLABELLED, np.uint8)
    masks = [
        (filled(annotation["segmentation"], height, width), annotation["category_id"]) for annotation in annotations
    ]
    for mask, category in sorted(masks, key=lambda pair: -int(pair[0].sum())):
        labels[mask] = category - 1
    return labels

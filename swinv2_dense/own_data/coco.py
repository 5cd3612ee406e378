"""Boxes and masks in COCO's format: one json, or a folder of them with a split."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown
from swinv2_dense.own_data.samples import SPLITS, Found, Sample, common_folder, image_size

__all__ = ["find_jsons", "read_coco"]

_TABLES = ("images", "annotations", "categories")


def find_jsons(folder: Path) -> dict[str, Path]:
    """The COCO files of a folder: by split, where their own or their folders' names say so; else one as 'train'."""
    places = [*folder.glob("annotations/*.json"), *folder.glob("*.json"), *folder.glob("*/_annotations.coco.json")]
    files = [path for path in sorted(places) if _looks_like_coco(path)]
    found: dict[str, Path] = {}
    for split, names in SPLITS.items():
        # instances_train2017.json before person_keypoints_train2017.json; val before test
        ranked = [
            (names.index(name), not path.stem.startswith("instances"), path)
            for path in files
            for name in names
            if path.parent.name == name or name in path.stem.lower().replace("-", "_").split("_")
        ]
        if ranked:
            found[split] = min(ranked)[2]
    if not found and len(files) == 1:
        found["train"] = files[0]
    if not found and files:
        raise UserError(f"{shown(folder)} holds {len(files)} COCO files, none called train: give one of them as --data")
    return found


def _looks_like_coco(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip()[:1] == b"{"


def read_coco(files: dict[str, Path], images: Path | None = None) -> Found:
    """Read COCO files by split. A class without any object in them all, as some exporters write, is left out.

    Args:
        images: the folder of the images; None to look beside the file.

    Raises:
        UserError: the file is not COCO's, or its images are not found.
    """
    contents = {split: _read(path) for split, path in files.items()}
    names: list[str] = []
    for split, content in contents.items():
        here = [str(category.get("name")) for category in content["categories"]]
        if len(set(here)) < len(here):
            twice = next(name for name in here if here.count(name) > 1)
            raise UserError(f"{shown(files[split])} has two categories called {twice!r}: rename or merge them")
        names += [name for name in here if name not in names]
    splits = {split: list(_samples(content, files[split], images)) for split, content in contents.items()}
    used = {name for samples in splits.values() for sample in samples for name in sample.classes}
    found = Found("COCO", common_folder(splits), [name for name in names if name in used], splits)
    if unused := [name for name in names if name not in used]:
        listed = ", ".join(unused[:8]) + (" ..." if len(unused) > 8 else "")
        found.notes.append(f"{len(unused)} of {len(names)} classes have no object and are left out: {listed}")
    objects = [o for samples in splits.values() for sample in samples for o in sample.objects if not o.get("iscrowd")]
    found.masks = bool(objects) and all(o.get("segmentation") for o in objects)
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path, "annotation file"))
    except json.JSONDecodeError as error:
        raise UserError(f"{shown(path)} is no valid JSON: {error}") from error
    missing = [table for table in _TABLES if not isinstance(content, dict) or not isinstance(content.get(table), list)]
    if missing:
        raise UserError(f"{shown(path)} is not in COCO's format: it has no list {missing[0]!r}")
    return content


def _samples(content: dict[str, Any], path: Path, images: Path | None) -> Iterator[Sample]:
    names = {category.get("id"): str(category.get("name")) for category in content["categories"]}
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        if annotation.get("category_id") not in names:
            raise UserError(
                f"{shown(path)}: annotation {annotation.get('id')} has category_id {annotation.get('category_id')}, "
                "which is none of its categories: correct it"
            )
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise UserError(f"{shown(path)}: annotation {annotation.get('id')} has no bbox of four numbers: add it")
        kept = {key: annotation[key] for key in ("bbox", "area", "segmentation") if annotation.get(key)}
        kept |= {"category": names[annotation["category_id"]], "iscrowd": int(annotation.get("iscrowd") or 0)}
        by_image[annotation.get("image_id")].append({"area": box[2] * box[3], **kept})
    if not content["images"]:
        raise UserError(f"{shown(path)} lists no images: there is nothing to train on")
    folder = _image_folder(path, str(content["images"][0].get("file_name")), images)
    for image in content["images"]:
        objects = by_image.pop(image.get("id"), [])
        place = folder / str(image.get("file_name"))
        if not place.is_file():
            raise UserError(
                f"{shown(place)} does not exist, although {shown(path)} names it: add it, or correct the file"
            )
        size = (image["height"], image["width"]) if image.get("height") and image.get("width") else image_size(place)
        yield Sample(place.absolute(), [o["category"] for o in objects], objects, size=size)
    if by_image:
        raise UserError(
            f"{shown(path)} has annotations of image_id {next(iter(by_image))}, which is none of its images: correct it"
        )


def _image_folder(path: Path, first: str, images: Path | None) -> Path:
    """Where the images of a file are: the folder that holds the first one."""
    base = path.parent
    places = [images] if images is not None else [base, base.parent]
    if images is None:
        split = path.stem.split("_")[-1]  # instances_train2017 -> train2017
        for root in (base, base.parent):
            places += [root / "images", root / split, root / "images" / split, root / "JPEGImages", root / "data"]
    for place in places:
        if (place / first).is_file():
            return place
    listed = ", ".join(dict.fromkeys(shown(place) for place in places))
    raise UserError(f"{shown(path)}: its first image, {first}, is in none of {listed}: name its folder by --images")

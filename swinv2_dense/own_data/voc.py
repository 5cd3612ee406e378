"""Boxes in Pascal VOC's format: an XML file for each image."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown
from swinv2_dense.own_data.samples import IMAGES, SPLITS, Found, Sample, image_size, split_folder

__all__ = ["find_xmls", "read_voc"]


def find_xmls(folder: Path) -> list[Path]:
    """The annotation files of a VOC folder: in Annotations, in the folder itself, or in its folders of splits."""
    for place in (folder / "Annotations", folder / "annotations", folder):
        if found := sorted(place.glob("*.xml")):
            return found
    return []


def read_voc(folder: Path) -> Found:
    """Read a folder of VOC's: ``Annotations`` and ``JPEGImages``, split by ``ImageSets/Main``, or XML beside images.

    Coordinates are 1-based and inclusive, as VOC's are. ``difficult`` objects are ignored in training and evaluation.

    Raises:
        UserError: an XML file that is none of VOC's, or an image that is not there.
    """
    splits: dict[str, list[Sample]] = {}
    parts = {split: split_folder(folder, split) for split in SPLITS}
    train = parts["train"]
    if train is not None and find_xmls(train) and not find_xmls(folder):
        for split, part in parts.items():
            if part is not None and (xmls := find_xmls(part)):
                splits[split] = [_sample(path, part) for path in xmls]
    else:
        samples = {path.stem: _sample(path, folder) for path in find_xmls(folder)}
        lists = {split: _list(folder, split) for split in SPLITS}
        if lists["train"] and lists["val"]:
            splits = {split: _chosen(samples, names or [], folder, split) for split, names in lists.items()}
        else:
            splits = {"train": list(samples.values())}
    classes = sorted({name for samples in splits.values() for sample in samples for name in sample.classes})
    return Found("Pascal VOC", folder.absolute(), classes, splits)


def _list(folder: Path, split: str) -> list[str] | None:
    names = SPLITS[split]
    path = next((p for name in names if (p := folder / "ImageSets" / "Main" / f"{name}.txt").is_file()), None)
    return None if path is None else [line.split()[0] for line in read_text(path).splitlines() if line.strip()]


def _chosen(samples: dict[str, Sample], names: list[str], folder: Path, split: str) -> list[Sample]:
    missing = [name for name in names if name not in samples]
    if missing:
        raise UserError(f"{shown(folder)}: {missing[0]} of the {split} list has no XML file: correct ImageSets/Main")
    return [samples[name] for name in names]


def _sample(path: Path, folder: Path) -> Sample:
    try:
        root = ElementTree.fromstring(read_text(path))
    except ElementTree.ParseError as error:
        raise UserError(f"{shown(path)} is no valid XML ({error}): correct or remove it") from error
    if root.tag != "annotation":
        raise UserError(f"{shown(path)} is no annotation of VOC's: its root is <{root.tag}>, not <annotation>")
    image = _image(path, folder, (root.findtext("filename") or "").strip())
    height, width = image_size(image)
    objects = [_object(node, (height, width), path) for node in root.iter("object")]
    return Sample(image, [o["category"] for o in objects], objects, size=(height, width))


def _image(path: Path, folder: Path, filename: str) -> Path:
    places = [folder / "JPEGImages", folder / "images", path.parent, folder]
    names = [Path(filename).name] if filename else []
    names += [path.stem + suffix for ending in IMAGES for suffix in (ending, ending.upper())]
    for place in places:
        for name in names:
            if (place / name).is_file():
                return (place / name).absolute()
    raise UserError(f"{shown(path)}: there is no image {filename or path.stem} in JPEGImages or beside it: add it")


def _object(node: ElementTree.Element, size: tuple[int, int], path: Path) -> dict[str, Any]:
    name = (node.findtext("name") or "").strip()
    try:
        left, top, right, bottom = (float(node.findtext(f"bndbox/{k}") or "") for k in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        raise UserError(f"{shown(path)}: object {name!r} has no bndbox of four numbers: correct it") from None
    if not name:
        raise UserError(f"{shown(path)} has an object without a name: correct it")
    left, top = max(0.0, left - 1), max(0.0, top - 1)  # pixels count from 1, both ends included
    right, bottom = min(float(size[1]), right), min(float(size[0]), bottom)
    if right <= left or bottom <= top:
        raise UserError(
            f"{shown(path)}: the box of {name!r} has no extent in the image of {size[1]} x {size[0]} pixels"
        )
    box = [left, top, right - left, bottom - top]
    difficult = (node.findtext("difficult") or "0").strip() == "1"
    return {"category": name, "bbox": box, "area": box[2] * box[3], "iscrowd": int(difficult)}

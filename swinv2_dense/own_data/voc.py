"""Boxes in Pascal VOC's format: an XML file for each image."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path, PureWindowsPath
from typing import Any

from swinv2_dense.checks.images import read_header
from swinv2_dense.errors import UserError
from swinv2_dense.files import files_below, read_text, shown
from swinv2_dense.own_data.lists import split_by_lists
from swinv2_dense.own_data.samples import SPLITS, Found, Sample, image_size, split_folder
from swinv2_dense.suffixes import IMAGES

__all__ = ["find_xmls", "read_voc"]


_ANNOTATIONS, _IMAGES = ("annotations", "labels", "xml", "xmls"), ("JPEGImages", "images", "Images")
_Images = dict[Path, dict[str, list[str]]]  # of each folder that was looked into: stem -> names of images


def find_xmls(folder: Path) -> list[Path]:
    """The annotation files of a VOC folder: in Annotations, in folders in it, or in the folder itself."""
    if not folder.is_dir():
        return []
    inside = sorted(folder.iterdir())
    for place in (path for path in inside if path.name.lower() in _ANNOTATIONS):
        if found := sorted(path for path in files_below(place) if _is_xml(path)):
            return found
    return [path for path in inside if _is_xml(path)]


def _is_xml(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and not path.name.startswith(".")


def read_voc(folder: Path) -> Found:
    """Read a folder of VOC's: ``Annotations`` and ``JPEGImages``, split by ``ImageSets/Main``, or XML beside images.

    Coordinates are 1-based and inclusive, as VOC's are. ``difficult`` objects are ignored in training and evaluation.

    Raises:
        UserError: an XML file that is none of VOC's, or an image that is not there.
    """
    known: _Images = {}
    parts = {split: split_folder(folder, split) for split in SPLITS}
    xmls = {split: find_xmls(part) for split, part in parts.items() if part is not None}
    whole = find_xmls(folder)
    of_parts = bool(xmls.get("train")) and all(path.parent == folder for path in whole)
    if of_parts:
        splits = {split: list(_samples(paths, parts[split] or folder, known).values())
                  for split, paths in xmls.items() if paths}  # fmt: skip
    else:
        samples = _samples(whole, folder, known)
        splits = split_by_lists(samples, folder / "ImageSets" / "Main") or _split_by_folders(samples)
    classes = sorted({name for samples in splits.values() for sample in samples for name in sample.classes})
    found = Found("Pascal VOC", folder.absolute(), classes, splits)
    if of_parts and whole:
        found.notes.append(
            f"left out: {len(whole)} XML files beside the folders of splits, the first is {shown(whole[0])}"
        )
    return found


def _split_by_folders(samples: dict[str, Sample]) -> dict[str, list[Sample]]:
    """Annotations/train and Annotations/val, or all to train on."""
    firsts = {name.lower().partition("/")[0] for name in samples if "/" in name}
    chosen = {split: next((name for name in names if name in firsts), None) for split, names in SPLITS.items()}
    if chosen["train"] is None:
        return {"train": list(samples.values())}
    return {split: [sample for name, sample in samples.items() if name.lower().startswith(f"{first}/")]
            for split, first in chosen.items() if first is not None}  # fmt: skip


def _samples(paths: list[Path], folder: Path, known: _Images) -> dict[str, Sample]:
    """By the names of the XML files, below Annotations where those have folders; by their stems alone besides."""
    samples: dict[str, Sample] = {}
    claimed: dict[Path, Path] = {}
    for path in paths:
        sample = _sample(path, folder, known)
        if (other := claimed.setdefault(sample.path, path)) != path:
            raise UserError(
                f"{shown(other)} and {shown(path)} both annotate {shown(sample.path)}: give each the name of its image"
            )
        place = path.relative_to(folder).with_suffix("")
        samples[Path(*place.parts[1:]).as_posix() if len(place.parts) > 1 else place.as_posix()] = sample
    return samples


def _sample(path: Path, folder: Path, known: _Images) -> Sample:
    try:
        root = ElementTree.fromstring(read_text(path))
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{shown(path)} is no valid XML ({error}): correct or remove it") from error
    if root.tag != "annotation":
        raise UserError(f"{shown(path)} is no annotation of VOC's: its root is <{root.tag}>, not <annotation>")
    image = _image(path, folder, (root.findtext("filename") or "").strip(), known)
    height, width = image_size(image)
    _check_size(root, (height, width), path, image)
    objects = [_object(node, (height, width), path) for node in root.iter("object")]
    return Sample(image, [o["category"] for o in objects], objects, size=(height, width))


def _image(path: Path, folder: Path, filename: str, known: _Images) -> Path:
    """The image of an XML file: of its own name, or else of the <filename> in it, which copies and renaming leave."""
    below = path.parent.relative_to(folder).parts[1:]  # Annotations/train/a.xml: JPEGImages/train/a.jpg
    name = PureWindowsPath(filename).name
    places = [place.joinpath(*inner) for inner in dict.fromkeys((below, ()))
              for place in (folder / folder_name for folder_name in _IMAGES)]  # fmt: skip
    for place in (*places, path.parent, folder):
        if place not in known:
            known[place] = defaultdict(list)
            for image in sorted(place.iterdir()) if place.is_dir() else ():
                if image.suffix.lower() in IMAGES and not image.name.startswith("."):
                    known[place][image.stem].append(image.name)
                    known[place][image.name].append(image.name)
    for wanted in (path.stem, name, PureWindowsPath(name).stem):
        for place in (*places, path.parent, folder):
            if names := known[place].get(wanted):
                return (place / (name if name in names else names[0])).absolute()
    raise UserError(f"{shown(path)}: there is no image {filename or path.stem} in JPEGImages or beside it: add it")


def _check_size(root: ElementTree.Element, size: tuple[int, int], path: Path, image: Path) -> None:
    """Refuse boxes of an image of another size; 0 and no number are none."""
    try:
        width, height = (int(float(root.findtext(f"size/{key}") or 0)) for key in ("width", "height"))
    except (ValueError, OverflowError):
        return
    if min(width, height) > 0 and (height, width) != size:
        turned = (width, height) == size and read_header(image).turned
        raise UserError(
            f"{shown(path)}: its <size> is {width} x {height}, but {shown(image.name)} has {size[1]} x {size[0]} pixels"
            + (" as its EXIF orientation turns it: annotate it as shown, or remove the tag" if turned else "")
            + ("" if turned else ": the boxes belong to another image or size; correct either")
        )


def _object(node: ElementTree.Element, size: tuple[int, int], path: Path) -> dict[str, Any]:
    name = (node.findtext("name") or "").strip()
    try:
        left, top, right, bottom = (float(node.findtext(f"bndbox/{k}") or "") for k in ("xmin", "ymin", "xmax", "ymax"))
        if not all(map(math.isfinite, (left, top, right, bottom))):
            raise ValueError
    except ValueError:
        raise UserError(f"{shown(path)}: object {name!r} has no bndbox of four numbers: correct it") from None
    if not name:
        raise UserError(f"{shown(path)} has an object without a name: correct it")
    if max(left, top, right, bottom) <= 1 and min(right, bottom) < 1:
        raise UserError(f"{shown(path)}: the box of {name!r} is relative to the image: multiply by its size in pixels")
    left, top = max(0.0, left - 1), max(0.0, top - 1)  # pixels count from 1, both ends included
    right, bottom = min(float(size[1]), right), min(float(size[0]), bottom)
    if right <= left or bottom <= top:
        raise UserError(
            f"{shown(path)}: the box of {name!r} has no extent in the image of {size[1]} x {size[0]} pixels"
        )
    box = [left, top, right - left, bottom - top]
    difficult = (node.findtext("difficult") or "0").strip().lower() in ("1", "true", "yes")
    return {"category": name, "bbox": box, "area": box[2] * box[3], "iscrowd": int(difficult)}

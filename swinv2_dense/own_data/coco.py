"""Boxes and masks in COCO's format: one json, or a folder of them with a split."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.own_data.coco_tables import category_name, read_objects, read_size, read_tables
from swinv2_dense.own_data.samples import SPLITS, Found, Sample, common_folder, image_size

__all__ = ["find_jsons", "read_coco"]

_NO_OBJECTS = ("captions", "image_info", "panoptic")  # what else lies beside COCO's own instances


def find_jsons(folder: Path) -> dict[str, Path]:
    """The COCO files of a folder: by split, where their own or their folders' names say so; else one as 'train'.

    Raises:
        UserError: several of one split, or several that say none.
    """
    patterns = ("[aA]nnotations/*.[jJ][sS][oO][nN]", "*.[jJ][sS][oO][nN]", "*/_annotations.coco.json")
    files = [
        path for path in sorted({p for pattern in patterns for p in folder.glob(pattern)}) if _looks_like_coco(path)
    ]
    found: dict[str, Path] = {}
    for split in SPLITS:
        ranks = {path: rank for path in files if (rank := _rank(path, folder, split)) is not None}
        best = [path for path, rank in ranks.items() if rank == min(ranks.values())]
        if len(best) > 1:
            listed = ", ".join(str(path.relative_to(folder)) for path in best)
            raise UserError(
                f"{shown(folder)} holds {len(best)} COCO files of {split}: {listed}; merge them, or leave one there"
            )
        if best:
            found[split] = best[0]
    if not found and len(files) == 1:
        found["train"] = files[0]
    if not found and files:
        raise UserError(f"{shown(folder)} holds {len(files)} COCO files, none called train: give one of them as --data")
    return found


def _looks_like_coco(path: Path) -> bool:
    if path.stem.startswith(_NO_OBJECTS):
        return False
    with path.open("rb") as file:
        start = file.read(64).replace(b"\0", b"")  # UTF-16 is found, too, and refused when it is read
    return start.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")[:1] == b"{"


def _rank(path: Path, folder: Path, split: str) -> tuple[bool, bool] | None:
    """None: of another split; else the least for the file to take: val before test, train before trainval,
    instances_train2017.json before person_keypoints_train2017.json."""
    words = {re.sub(r"\d+$", "", word) for word in re.split(r"[-_. ]", path.stem.lower())}
    said = {part: words.intersection(names) for part, names in SPLITS.items()}
    if not any(said.values()) and path.parent != folder and "trainval" not in words:
        said = {part: {path.parent.name.lower()}.intersection(names) for part, names in SPLITS.items()}
    both = "trainval" in words or all(said.values())
    if not (split == "train" if both else said[split]):
        return None
    late = both or said[split] <= {"test", "testing"}
    return late, not path.stem.startswith("instances")


def read_coco(files: dict[str, Path], images: Path | None = None) -> Found:
    """Read COCO files by split. A class without any object in them all, as some exporters write, is left out.

    Objects with ``"ignore": 1`` become crowds, which are neither trained on nor scored.

    Args:
        images: the folder of the images; None to look beside the file.

    Raises:
        UserError: the file is not COCO's, or its images are not found.
    """
    contents = {split: read_tables(path) for split, path in files.items()}
    names: list[str] = []
    for split, content in contents.items():
        here = [category_name(category, files[split]) for category in content["categories"]]
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
    if ignored := sum(bool(a.get("ignore")) for content in contents.values() for a in content["annotations"]):
        found.notes.append(f"objects marked ignore, which are neither trained on nor scored: {ignored}")
    objects = [o for samples in splits.values() for sample in samples for o in sample.objects if not o.get("iscrowd")]
    found.masks = bool(objects) and all(o.get("segmentation") for o in objects)
    return found


def _samples(content: dict[str, Any], path: Path, images: Path | None) -> Iterator[Sample]:
    if not content["images"]:
        raise UserError(f"{shown(path)} lists no images: there is nothing to train on")
    for image in content["images"]:
        if not isinstance(name := image.get("file_name"), str) or not name:
            raise UserError(f"{shown(path)}: image {image['id']} has file_name {name!r}: write the name of its file")
    folder = _image_folder(path, [image["file_name"] for image in content["images"]], images)
    sizes: dict[Any, tuple[int, int]] = {}
    for image in content["images"]:
        place = folder / image["file_name"]
        if not place.is_file():
            raise UserError(
                f"{shown(place)} does not exist, although {shown(path)} names it: add it, or correct the file"
            )
        sizes[image["id"]] = read_size(image, path) or image_size(place)
    by_image = read_objects(content, path, sizes)
    for image in content["images"]:
        objects = by_image.get(image["id"], [])
        place = (folder / image["file_name"]).absolute()
        yield Sample(place, [o["category"] for o in objects], objects, size=sizes[image["id"]])


def _image_folder(path: Path, names: list[str], images: Path | None) -> Path:
    """Where the images of a file are: the folder that holds them all, or else the first one.

    The folder of the split comes first (train2017 of instances_train2017), as images may have the same names elsewhere.
    """
    base = path.parent
    roots = (base, base.parent)
    if images is not None:
        places = [images]
    else:
        words = [word for word in re.split("[-_]", path.stem) if word][::-1]
        words = list(dict.fromkeys(name for word in words for name in (word, word.lower(), word.capitalize())))
        places = [root / inner / word for root in roots for word in words for inner in ("images", "")]
        places += [*roots, *(root / name for root in roots for name in ("images", "JPEGImages", "data"))]
    likely = [place for place in places if (place / names[0]).is_file()]
    if not likely:
        listed = ", ".join(dict.fromkeys(shown(place) for place in places if images is not None or place.is_dir()))
        raise UserError(
            f"{shown(path)}: its first image, {names[0]}, is in none of {listed}: name its folder by --images"
        )
    return next((place for place in likely if all((place / name).is_file() for name in names)), likely[0])

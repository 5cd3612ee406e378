"""Which label the folder of a class has, by how the folders of a data set are named.

Labels must be those of the weights' head, and a wrong order of folders gives wrong labels without any error. So the
names decide: ImageNet's wnids have their place among the 1,000 classes also where only some of them are there;
ImageNet-V2's numbers are numbers; any other names are taken in their order as text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from swinv2_dense.checkpoint.imagenet_rows import CLASSES_1K, CLASSES_22K, rows_of_22k
from swinv2_dense.errors import UserError
from swinv2_dense.files import files_below
from swinv2_dense.suffixes import IMAGES

__all__ = ["ClassFolders", "class_folders", "images_below", "labels_of", "others_below", "wnids"]

_WNID = re.compile(r"n\d{8}")


@lru_cache(maxsize=1)
def wnids() -> tuple[str, ...]:
    """ImageNet-1K's 1,000 wnids, sorted: the order of the labels."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


@dataclass(frozen=True)
class ClassFolders:
    """``labels``: folder name -> label. ``kind``: what the names are, in words. ``names_are_labels``: each name says
    its label itself, whatever other folders there are."""

    labels: dict[str, int]
    kind: str
    names_are_labels: bool = False


def labels_of(names: Sequence[str], num_classes: int | None, where: str) -> ClassFolders:
    """Labels of class folders.

    Args:
        names: of the folders.
        num_classes: of the head; None for as many as there are folders.
        where: the folder that holds them, for messages.

    Raises:
        UserError: the names do not give the labels of a head of ``num_classes``.
    """
    if not names:
        raise UserError(f"{where} holds no class folders: give a folder with one folder of images per class")
    ordered = sorted(names)
    if all(map(str.isdecimal, ordered)):
        return _numbers(ordered, num_classes, where)
    if all(map(_WNID.fullmatch, ordered)):
        if num_classes == CLASSES_1K and len(ordered) <= CLASSES_1K:
            return _of_imagenet(ordered, where)
        if num_classes == CLASSES_22K:
            return _of_22k(ordered, where)
    if num_classes is not None and len(ordered) != num_classes:
        raise UserError(
            f"{where} holds {len(ordered)} class folders, but num_classes is {num_classes}: "
            "make every num_classes the number of folders, or complete the folders"
        )
    return ClassFolders(
        {name: label for label, name in enumerate(ordered)}, "class folders, in the order of their names"
    )


def _numbers(names: Sequence[str], num_classes: int | None, where: str) -> ClassFolders:
    """ImageNet-V2's 0 ... 999: sorted as text (0, 1, 10, 100, ...) every label would be wrong."""
    labels = {name: int(name) for name in names}
    classes = num_classes or len(names)
    missing = sorted(set(range(classes)) - set(labels.values()))
    beyond = sorted(set(labels.values()) - set(range(classes)))
    if missing or beyond or len(names) != classes:
        problem = f"{missing[0]} is missing" if missing else f"{beyond[0] if beyond else names[0]} is one too many"
        raise UserError(
            f"{where} holds {len(names)} folders that are numbers, of which {problem}: for a head of {classes} "
            f"classes they must be 0 to {classes - 1}, so complete the folders or correct num_classes"
        )
    return ClassFolders(labels, "numbered folders, as ImageNet-V2's", names_are_labels=True)


def _of_imagenet(names: Sequence[str], where: str) -> ClassFolders:
    places = {wnid: place for place, wnid in enumerate(wnids())}
    strangers = [name for name in names if name not in places]
    if strangers:
        raise UserError(
            f"{where} holds {strangers[0]}, which is none of ImageNet-1K's 1,000 wnids ({len(strangers)} such "
            f"folders): remove them, or set num_classes={len(names)} everywhere for a head of these classes"
        )
    kind = f"{len(names)} of ImageNet-1K's 1,000 classes, labelled by wnid"
    return ClassFolders({name: places[name] for name in names}, kind, names_are_labels=True)


def _of_22k(names: Sequence[str], where: str) -> ClassFolders:
    """Sorted, as the authors have them; where another release's folders come, rows for the 1,000 would be others'."""
    if len(names) != CLASSES_22K:
        raise UserError(
            f"{where} holds {len(names)} wnid folders, ImageNet-22K has {CLASSES_22K}: complete them, or set "
            f"num_classes={len(names)} everywhere for a head of these classes"
        )
    wrong = [(row, wnid) for row, wnid in zip(rows_of_22k(), wnids(), strict=True) if names[row] != wnid]
    if len(wrong) > 1:  # n04399382 (teddy) has another wnid in the release of 2011
        row, wnid = wrong[0]
        raise UserError(
            f"{where}: folder {row} in the order of names is {names[row]}, not {wnid}: these are not the folders of "
            "ILSVRC2011fall_whole, whose order the published 22K heads have"
        )
    return ClassFolders({name: label for label, name in enumerate(names)}, "ImageNet-22K's wnids, sorted")


def class_folders(folder: str | os.PathLike[str], num_classes: int | None) -> ClassFolders:
    """Labels of the folders in ``folder``; raises as :func:`labels_of`, or where there is none."""
    if not os.path.isdir(folder):
        raise UserError(f"{folder} does not exist: give a folder with one folder of images per class")
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return labels_of(names, num_classes, str(folder))


def images_below(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Images in a folder and the folders in it, as paths relative to it, sorted."""
    return _below(folder, lambda name: name.lower().endswith(IMAGES))


def others_below(folder: str | os.PathLike[str], suffixes: tuple[str, ...] = IMAGES) -> list[str]:
    """As :func:`images_below`, the files of other suffixes, which are not read."""
    return list(_below(folder, lambda name: not name.lower().endswith(suffixes)))


def _below(folder: str | os.PathLike[str], wanted: Callable[[str], bool]) -> Iterator[str]:
    return (str(path.relative_to(folder)) for path in files_below(folder) if wanted(path.name))

"""Check ImageNet, some of its classes, ImageNet-V2, ImageNet-22K or own class folders, and say which labels they get.

Expects ROOT/train/CLASS/* and ROOT/val/CLASS/*; of ImageNet-V2 ROOT is a variant's folder, with 0 ... 999 in it. Every
image is decoded. Nothing is written."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.checkpoint.imagenet_rows import CLASSES_1K
from swinv2_dense.checks.findings import warn
from swinv2_dense.checks.image_folders import ClassFolders, class_folders, images_below, wnids
from swinv2_dense.checks.overlap import check_overlap
from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.prepare.images import check_images, show_others
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("prepare imagenet", __doc__, ("data/imagenet", "data/imagenetv2-matched-frequency-format-val"))
    root = os.environ.get("IMAGENET_ROOT", "data/imagenet")
    parser.add_argument("root", type=Path, nargs="?", default=root, help="folder of the data (default: $IMAGENET_ROOT)")
    parser.add_argument("--splits", nargs="+", metavar="FOLDER", help="default: train and val, or ROOT itself for V2")
    parser.add_argument(
        "--num-classes",
        type=int,
        metavar="N",
        help="of the head (default: 1000; 21841 for as many folders; for own classes as many as there are)",
    )
    parser.add_argument("--no-decoding", action="store_true", help="look at names alone")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes that decode")
    return parser.parse_args(argv)


def _folders(folder: Path, num_classes: int | None) -> ClassFolders:
    """As the configs will see them: ImageNet's names are for heads of 1,000 classes, others for as many as they are."""
    if num_classes is not None:
        return class_folders(folder, num_classes)
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist: ROOT holds train and val, or name the folders by --splits")
    names = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    of_imagenet = _all_wnids(names)
    if of_imagenet and len(names) > CLASSES_1K:
        strangers = sorted(set(names) - set(wnids()))
        if len(strangers) == len(names) - CLASSES_1K and len(names) < 2 * CLASSES_1K:
            raise UserError(
                f"{folder} holds the 1,000 folders of ImageNet-1K and {len(strangers)} more, the first {strangers[0]}: "
                f"take them away, or give --num-classes {len(names)} for a head of as many classes"
            )
        return class_folders(folder, len(names) if len(names) < 20000 else 21841)
    return class_folders(folder, CLASSES_1K if of_imagenet or _all_numbers(names) else None)


def _all_wnids(names: Sequence[str]) -> bool:
    return bool(names) and all(map(_is_wnid, names))


def _all_numbers(names: Sequence[str]) -> bool:
    return bool(names) and all(map(str.isdecimal, names))


def _is_wnid(name: str) -> bool:
    return len(name) == 9 and name[0] == "n" and name[1:].isdecimal()


def _splits(root: Path, given: Sequence[str] | None) -> list[str]:
    if given:
        return list(given)
    if not root.is_dir():
        raise UserError(f"{root} does not exist: give the folder of the data, or set IMAGENET_ROOT")
    found = [split for split in ("train", "val") if (root / split).is_dir()]
    if len(found) == 1:
        warn(f"{root} holds no {'val' if found == ['train'] else 'train'} beside {found[0]}")
    names = [path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not found and not _all_numbers(names) and not _all_wnids(names):
        raise UserError(
            f"{root} holds neither train nor val: name the folders that hold the class folders by --splits, which is "
            "--splits . where the folder itself does"
        )
    return found or ["."]


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    seen: dict[str, ClassFolders] = {}
    images: dict[str, list[str]] = {}
    for split in _splits(args.root, args.splits):
        folder = args.root / split
        found = seen[split] = _folders(folder, args.num_classes)
        images[split] = _images(folder, found)
        if not args.no_decoding:
            check_images(folder, images[split], args.workers, split)
        print(f"{folder}: {len(images[split])} images in {len(found.labels)} folders; {found.kind}")
        labels = sorted(found.labels.items(), key=lambda item: item[1])
        print("  " + ", ".join(f"{name} = {label}" for name, label in labels[:12]) + (", ..." if labels[12:] else ""))
    _check_agreement(args.root, seen)
    (first, names), *others = images.items()
    for split, compared in others:
        check_overlap(args.root / first, args.root / split, set(names).intersection(compared))


def _images(folder: Path, found: ClassFolders) -> list[str]:
    """The images that training will see; what it will not is said."""
    images = list(images_below(folder))
    show_others(folder)
    if beside := [name for name in images if len(Path(name).parts) == 1]:
        raise UserError(
            f"{len(beside)} images lie in {folder} itself, the first {shown(beside[0])}, and would be left out: "
            "move each into the folder of its class, or take them away"
        )
    empty = sorted(set(found.labels) - {Path(name).parts[0] for name in images})
    if empty:
        raise UserError(f"{folder / empty[0]} holds no images ({len(empty)} such folders): complete or remove them")
    return images


def _check_agreement(root: Path, seen: dict[str, ClassFolders]) -> None:
    (first, folders), *others = seen.items()
    for split, found in others:
        spare = sorted(set(folders.labels.values()) ^ set(found.labels.values()))
        if spare and folders.names_are_labels and found.names_are_labels:
            warn(f"{root}: label {spare[0]} is in only one of {first} and {split} ({len(spare)} such labels)")
        differing = sorted(set(folders.labels) ^ set(found.labels))
        if differing and not (folders.names_are_labels and found.names_are_labels):
            raise UserError(
                f"{root}: {differing[0]} is in only one of {first} and {split}: labels are places in the order of the "
                "names, so make the folders the same"
            )

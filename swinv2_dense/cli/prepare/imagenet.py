"""Check ImageNet, some of its classes, ImageNet-V2, ImageNet-22K or own class folders, and say which labels they get.

Expects ROOT/train/CLASS/* and ROOT/val/CLASS/*; of ImageNet-V2 ROOT is a variant's folder, with 0 ... 999 in it. Every
image is decoded. Nothing is written."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.checkpoint.imagenet_rows import CLASSES_1K
from swinv2_dense.checks.image_folders import ClassFolders, class_folders, images_below
from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.prepare.images import check_images
from swinv2_dense.errors import UserError


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
    numbers, wnids = (bool(names) and all(map(test, names)) for test in (str.isdecimal, _is_wnid))
    if wnids and len(names) > CLASSES_1K:
        return class_folders(folder, len(names) if len(names) < 20000 else 21841)
    return class_folders(folder, CLASSES_1K if wnids or numbers else None)


def _is_wnid(name: str) -> bool:
    return len(name) == 9 and name[0] == "n" and name[1:].isdecimal()


def _splits(root: Path, given: Sequence[str] | None) -> list[str]:
    if given:
        return list(given)
    if not root.is_dir():
        raise UserError(f"{root} does not exist: give the folder of the data, or set IMAGENET_ROOT")
    found = [split for split in ("train", "val") if (root / split).is_dir()]
    return found or ["."]


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    seen: dict[str, ClassFolders] = {}
    for split in _splits(args.root, args.splits):
        folder = args.root / split
        found = seen[split] = _folders(folder, args.num_classes)
        images = list(images_below(folder))
        empty = sorted(set(found.labels) - {Path(name).parts[0] for name in images})
        if empty:
            raise UserError(f"{folder / empty[0]} holds no images ({len(empty)} such folders): complete or remove them")
        if not args.no_decoding:
            check_images(folder, images, args.workers, split)
        print(f"{folder}: {len(images)} images in {len(found.labels)} folders; {found.kind}")
        shown = sorted(found.labels.items(), key=lambda item: item[1])
        print("  " + ", ".join(f"{name} = {label}" for name, label in shown[:12]) + (", ..." if shown[12:] else ""))
    _check_agreement(args.root, seen)


def _check_agreement(root: Path, seen: dict[str, ClassFolders]) -> None:
    (first, folders), *others = seen.items()
    for split, found in others:
        differing = sorted(set(folders.labels) ^ set(found.labels))
        if differing and not (folders.names_are_labels and found.names_are_labels):
            raise UserError(
                f"{root}: {differing[0]} is in only one of {first} and {split}: labels are places in the order of the "
                "names, so make the folders the same"
            )

"""Check a folder of images without labels, as pre-training takes it: every image in it and below is decoded."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.checks.image_files import broken_images
from swinv2_dense.checks.image_folders import images_below, others_below
from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.progress import bars
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

__all__ = ["check_images", "main", "show_others"]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("prepare images", __doc__, ("data/photos",))
    parser.add_argument("folder", type=Path, help="folder of images, in it or in folders below it")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes that decode")
    return parser.parse_args(argv)


def check_images(folder: Path, names: Sequence[str], workers: int | None, what: str) -> None:
    """Decode all images and print those that cannot be.

    Raises:
        UserError: some cannot.
    """
    if workers is not None and workers < 0:
        raise UserError(f"--workers {workers}: give a number from 0 on")
    with bars() as report:
        broken = broken_images(
            folder, names, workers=workers or 0, progress=lambda _, done, total: report(what, done, total)
        )
    for name, problem in broken:
        print(f"{folder / name} {problem}")
    if broken:
        raise UserError(f"{what}: {len(broken)} of {len(names)} images are broken: replace or remove them")


def show_others(folder: Path) -> None:
    """Print how many files are passed over, as their suffix is none of an image's."""
    if others := others_below(folder):
        print(f"{len(others)} files in {folder} are no images by their suffix, the first {shown(others[0])}")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if not args.folder.is_dir():
        raise UserError(f"{args.folder} is no folder: give a folder of images")
    names = list(images_below(args.folder))
    show_others(args.folder)
    if not names:
        raise UserError(f"{args.folder} holds no images: give a folder of images")
    check_images(args.folder, names, args.workers, str(args.folder))
    print(f"{args.folder}: {len(names)} images, all decoded; pre-train on them by configs/simmim/")
    print(f"  IMAGES_ROOT={args.folder} swinv2 train simmim_swinv2_b")

"""Check an ADE20K folder: every image has its map, every map the values and the size it should have."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from swinv2_dense.checks.image_folders import images_below
from swinv2_dense.checks.images import read_header
from swinv2_dense.checks.index_maps import check_map, check_pairs, decode_map, pairs
from swinv2_dense.checks.overlap import check_overlap
from swinv2_dense.checks.summary import show_table
from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.progress import bars
from swinv2_dense.errors import UserError
from swinv2_dense.progress import Progress

CLASSES = 150
OFFICIAL = {"training": 20210, "validation": 2000}
SOURCE = "unpack ADEChallengeData2016.zip of the MIT scene parsing benchmark there"
SHOWN = 20  # mistakes of each split that are listed


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("prepare ade20k", __doc__, ("data/ade20k",))
    default = os.environ.get("ADE20K_ROOT", "data/ade20k")
    parser.add_argument("root", nargs="?", type=Path, default=default, help="the folder (default: ADE20K_ROOT)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="images read at a time (default: one a core)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.jobs < 1:
        raise UserError(f"--jobs {args.jobs}: give a number from 1 on")
    folders = [args.root / part / split for split in OFFICIAL for part in ("images", "annotations")]
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise UserError(f"{', '.join(missing)} missing: {SOURCE}, or name its folder")
    with bars() as progress:
        mistakes = sum(check_split(args.root, split, args.jobs, progress) for split in OFFICIAL)
    if mistakes:
        raise UserError(f"{args.root}: {mistakes} mistakes, listed above")
    one, other = (args.root / "images" / split for split in OFFICIAL)
    check_overlap(one, other, set(images_below(one)).intersection(images_below(other)))
    print(f"{args.root} is in order")


def check_split(root: Path, split: str, jobs: int, progress: Progress) -> int:
    """Print what is found in one split; returns the number of mistakes."""
    images, maps = root / "images" / split, root / "annotations" / split
    mistakes = []
    try:
        names = check_pairs(str(images), str(maps))
    except UserError as error:
        mistakes.append(str(error))
        names = pairs(str(images), str(maps))
    seen, images_of = np.zeros((2, CLASSES + 1), np.int64)
    with ThreadPoolExecutor(jobs) as pool:
        results = pool.map(partial(check_pair, images, maps), names)
        for done, (mistake, counts) in enumerate(results, start=1):
            mistakes += [mistake] if mistake else []
            seen += counts
            images_of += counts > 0
            progress(split, done, len(names))
    official = OFFICIAL[split]
    print(
        f"{split}: {len(names)} pairs{'' if len(names) == official else f' (the official set has {official})'}, "
        f"{np.count_nonzero(seen[1:])} of {CLASSES} classes, {seen[0] / max(1, seen.sum()):.1%} of the pixels other"
    )
    if seen.any():
        names_of = class_names()
        rows = [(names_of[c], f"{seen[c] / seen.sum():.2%}", f"{images_of[c]:,}") for c in range(1, CLASSES + 1)]
        show_table(("class", "pixels", "images"), [row for row in rows if row[2] != "0"])
    for mistake in mistakes[:SHOWN]:
        print(f"  {mistake}")
    if len(mistakes) > SHOWN:
        print(f"  ... and {len(mistakes) - SHOWN} more")
    return len(mistakes)


def check_pair(images: Path, maps: Path, name: str) -> tuple[str | None, np.ndarray]:
    """The mistake in one pair, if any, and how many pixels each index has."""
    image, path = images / f"{name}.jpg", str(maps / f"{name}.png")
    counts = np.zeros(CLASSES + 1, np.int64)
    try:
        labels = decode_map(Path(path).read_bytes(), path)
        header = read_header(image, pixels=True)
        check_map(labels, path, header.decoded_size, CLASSES)
    except UserError as error:
        return str(error), counts
    return None, np.bincount(labels.ravel(), minlength=CLASSES + 1)


def class_names() -> Sequence[str]:
    """By index in a map; numbers where mmseg, which has the names, is not installed."""
    try:
        from mmseg.utils import ade_classes
    except ImportError:
        return ["other", *(f"class {number}" for number in range(1, CLASSES + 1))]
    return ["other", *ade_classes()]

"""Check an ADE20K folder: every picture has its map, every map the values and the size it should have."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from swinv2_dense.checks.index_maps import check_map, check_pairs, decode_map
from swinv2_dense.errors import UserError

CLASSES = 150
OFFICIAL = {"training": 20210, "validation": 2000}
SOURCE = "unpack ADEChallengeData2016.zip of the MIT scene parsing benchmark there"
SHOWN = 20  # mistakes of each split that are listed


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("ADE20K_ROOT", "data/ade20k")
    parser.add_argument("root", nargs="?", type=Path, default=default, help="the folder (default: ADE20K_ROOT)")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="pictures read at a time (default: one a core)"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    folders = [args.root / part / split for split in OFFICIAL for part in ("images", "annotations")]
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise UserError(f"{', '.join(missing)} missing: {SOURCE}, or name its folder")
    mistakes = sum(check_split(args.root, split, args.jobs) for split in OFFICIAL)
    if mistakes:
        raise UserError(f"{args.root}: {mistakes} mistakes, listed above")
    print(f"{args.root} is in order")


def check_split(root: Path, split: str, jobs: int) -> int:
    """Print what is found in one split; returns the number of mistakes."""
    pictures, maps = root / "images" / split, root / "annotations" / split
    mistakes = []
    try:
        names = check_pairs(str(pictures), str(maps))
    except UserError as error:
        mistakes.append(str(error))
        names = sorted(path.stem for path in pictures.glob("*.jpg") if (maps / f"{path.stem}.png").is_file())
    seen = np.zeros(CLASSES + 1, np.int64)
    with ThreadPoolExecutor(jobs) as pool:
        results = pool.map(partial(check_pair, pictures, maps), names)
        for mistake, counts in _with_progress(results, len(names), split):
            mistakes += [mistake] if mistake else []
            seen += counts
    official = OFFICIAL[split]
    print(
        f"{split}: {len(names)} pairs{'' if len(names) == official else f' (the official set has {official})'}, "
        f"{np.count_nonzero(seen[1:])} of {CLASSES} classes, {seen[0] / max(1, seen.sum()):.1%} of the pixels other"
    )
    for mistake in mistakes[:SHOWN]:
        print(f"  {mistake}")
    if len(mistakes) > SHOWN:
        print(f"  ... and {len(mistakes) - SHOWN} more")
    return len(mistakes)


def check_pair(pictures: Path, maps: Path, name: str) -> tuple[str | None, np.ndarray]:
    """The mistake in one pair, if any, and how many pixels each index has."""
    picture, path = pictures / f"{name}.jpg", str(maps / f"{name}.png")
    counts = np.zeros(CLASSES + 1, np.int64)
    try:
        labels = decode_map(Path(path).read_bytes(), path)
        check_map(labels, path, _picture_size(picture), CLASSES)
    except UserError as error:
        return str(error), counts
    return None, np.bincount(labels.ravel(), minlength=CLASSES + 1)


def _picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture that can be read to its end."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture.height, picture.width
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} cannot be decoded: it is truncated or no picture; replace it") from error


def _with_progress(
    results: Iterator[tuple[str | None, np.ndarray]], total: int, split: str
) -> Iterator[tuple[str | None, np.ndarray]]:
    yield from track(results, description=split, total=total, transient=True, disable=not sys.stdout.isatty())

"""Check a COCO folder, and make what other data in COCO's format lack."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from swinv2_dense.checks.coco import Finding, SplitReport, check_coco
from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.prepare.coco_convert import convert_objects365, write_semantic_maps
from swinv2_dense.cli.progress import bars
from swinv2_dense.errors import UserError
from swinv2_dense.progress import Progress

EXAMPLES = (
    "check data/coco",
    "objects365 data/objects365/zhiyuan_objv2_train.json --images data/objects365/train --out train.json",
    "stuffthingmaps data/toy",
)
SPLITS = ("train2017", "val2017")
SHOWN = 20  # entries of each kind that are listed


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("prepare coco", __doc__, EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True)
    default = os.environ.get("COCO_ROOT", "data/coco")

    check = commands.add_parser(
        "check", prog="swinv2 prepare coco check", help="list what is missing or broken; changes nothing"
    )
    check.add_argument("root", nargs="?", type=Path, default=default, help="the folder (default: COCO_ROOT)")
    check.add_argument("--splits", nargs="+", default=SPLITS, metavar="SPLIT", help="default: train2017 val2017")
    check.add_argument("--deep", action="store_true", help="read all pixels, not only the files' headers")
    check.add_argument("--all", action="store_true", help=f"list every entry, not only {SHOWN} of each kind")

    objects365 = commands.add_parser(
        "objects365",
        prog="swinv2 prepare coco objects365",
        help="write Objects365 v2's annotations with the paths on disk",
    )
    objects365.add_argument("annotations", type=Path, help="zhiyuan_objv2_train.json or zhiyuan_objv2_val.json")
    objects365.add_argument("--images", type=Path, required=True, help="folder that has the patch folders")
    objects365.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the file to write")
    objects365.add_argument("--drop-missing", action="store_true", help="leave images out that are not on disk")

    maps = commands.add_parser(
        "stuffthingmaps",
        prog="swinv2 prepare coco stuffthingmaps",
        help="write semantic maps from the instances, for data without stuff",
    )
    maps.add_argument("root", type=Path, help="folder with annotations/instances_SPLIT.json")
    maps.add_argument("--splits", nargs="+", default=SPLITS, metavar="SPLIT", help="default: train2017 val2017")
    return parser.parse_args(argv)


def check(args: argparse.Namespace, progress: Progress) -> None:
    reports = check_coco(args.root, args.splits, deep=args.deep, progress=progress)
    for report in reports:
        show(report, None if args.all else SHOWN)
    problems = sum(finding.serious for report in reports for finding in report.findings)
    if problems:
        raise UserError(f"{args.root}: {problems} problems, listed above")
    print(f"{args.root} is in order")


def show(report: SplitReport, limit: int | None) -> None:
    print(
        f"{report.split}: {report.images} images ({report.empty} without annotations), "
        f"{report.annotations} annotations ({report.crowds} crowds), {len(report.categories)} categories, "
        f"{report.maps} semantic maps"
    )

    def order(finding: Finding) -> tuple[bool, str]:
        return not finding.serious, finding.kind

    for (harmless, kind), group in groupby(sorted(report.findings, key=order), key=order):
        found = list(group)
        print(f"  {'note' if harmless else 'problem'}: {kind} ({len(found)})")
        for finding in found[:limit]:
            print(f"    {finding}")
        if limit is not None and len(found) > limit:
            print(f"    ... and {len(found) - limit} more (--all lists them)")


def objects365(args: argparse.Namespace, progress: Progress) -> None:
    missing = convert_objects365(
        args.annotations, args.images, args.out, drop_missing=args.drop_missing, progress=progress
    )
    print(f"wrote {args.out}")
    for name in missing[:SHOWN]:
        print(f"  left out, not on disk: {name}")
    if len(missing) > SHOWN:
        print(f"  ... and {len(missing) - SHOWN} more")


def stuffthingmaps(args: argparse.Namespace, progress: Progress) -> None:
    for split in args.splits:
        count = write_semantic_maps(args.root, split, progress=progress)
        print(f"wrote {count} maps to {args.root / 'stuffthingmaps' / split}")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    command = {"check": check, "objects365": objects365, "stuffthingmaps": stuffthingmaps}[args.command]
    with bars() as progress:
        command(args, progress)

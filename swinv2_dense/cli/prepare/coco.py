"""Check a COCO folder, and make what other data in COCO's format lack."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from swinv2_dense.checks.coco import SplitReport, check_coco, check_coco_file
from swinv2_dense.checks.coco_file import MAX_PIXELS
from swinv2_dense.checks.findings import Finding
from swinv2_dense.checks.summary import show_counts
from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.prepare.coco_convert import convert_objects365, order_categories, write_semantic_maps
from swinv2_dense.cli.progress import bars
from swinv2_dense.errors import UserError
from swinv2_dense.progress import Progress

EXAMPLES = (
    "check data/coco",
    "check data/mine/train.json --images data/mine/train --boxes",
    "order data/mine/val.json --like data/mine/train.json --out data/mine/val_ordered.json",
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
    check.add_argument(
        "root", nargs="?", type=Path, default=default, help="the folder (default: COCO_ROOT), or one annotation file"
    )
    check.add_argument("--images", type=Path, metavar="FOLDER", help="with one annotation file: where its images are")
    check.add_argument("--splits", nargs="+", default=SPLITS, metavar="SPLIT", help="default: train2017 val2017")
    check.add_argument("--deep", action="store_true", help="read all pixels, not only the files' headers")
    check.add_argument("--all", action="store_true", help=f"list every entry, not only {SHOWN} of each kind")
    check.add_argument("--boxes", action="store_true", help="for configs of boxes alone: masks may be missing")
    check.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, metavar="N", help="largest image (default: %(default)s pixels)"
    )

    order = commands.add_parser(
        "order",
        prog="swinv2 prepare coco order",
        help="write annotations with their categories in another file's order",
    )
    order.add_argument("annotations", type=Path, help="the file, which is not changed")
    order.add_argument("--like", type=Path, required=True, metavar="FILE.json", help="the file that has the order")
    order.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the file to write")

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
    options = {"deep": args.deep, "boxes_only": args.boxes, "max_pixels": args.max_pixels, "progress": progress}
    if args.root.suffix.lower() == ".json" or args.root.is_file():
        if args.images is None:
            raise UserError(f"{args.root} is one annotation file: name the folder of its images by --images")
        reports = [check_coco_file(args.root, args.images, **options)]
    else:
        reports = check_coco(args.root, args.splits, **options)
    for report in reports:
        show(report, None if args.all else SHOWN)
    problems = sum(finding.serious for report in reports for finding in report.findings)
    if problems:
        raise UserError(f"{args.root}: {problems} problems, listed above")
    print(f"{args.root} is in order")


def show(report: SplitReport, limit: int | None) -> None:
    show_counts(report.split, report.counts)
    if report.maps:
        print(f"  {report.maps} semantic maps")

    def rank(finding: Finding) -> tuple[bool, str]:
        return not finding.serious, finding.kind

    for (harmless, kind), group in groupby(sorted(report.findings, key=rank), key=rank):
        found = list(group)
        print(f"  {'note' if harmless else 'problem'}: {kind} ({len(found)})")
        for finding in found[:limit]:
            print(f"    {finding}")
        if limit is not None and len(found) > limit:
            print(f"    ... and {len(found) - limit} more (--all lists them)")


def order(args: argparse.Namespace, progress: Progress) -> None:
    order_categories(args.annotations, args.like, args.out)
    print(f"wrote {args.out}")


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
    command = {"check": check, "order": order, "objects365": objects365, "stuffthingmaps": stuffthingmaps}[args.command]
    with bars() as progress:
        command(args, progress)

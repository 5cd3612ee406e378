"""Show the whole toolkit on generated data, in minutes on two CPU cores and without a download.

Draws images, pre-trains a small SwinV2 as a classifier, transfers it to a larger window, trains with it, and evaluates
on new images. With --draw only draws data in the layout of a page of docs/own_data, to follow that page with.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense import extras
from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.progress import bars
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.config_files import CONFIGS
from swinv2_dense.errors import UserError

# Task, also a module of swinv2_dense.demo -> its config, and the extra that it needs.
TASKS = {
    "detection": ("htc_swinv2_demo.py", "det"),
    "segmentation": ("upernet_swinv2_demo.py", "seg"),
    "video": ("video_swinv2_demo.py", "video"),
    "classification": ("classifier_swinv2_demo.py", "cls"),
}

OWN_DATA = ("boxes", "masks", "maps", "classes", "clips")  # pages of docs/own_data


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("demo", __doc__, ("--quick", "--task segmentation --work-dir work_dirs/demo", "--draw boxes"))
    parser.add_argument("--task", choices=list(TASKS), default="detection", help="what to train")
    parser.add_argument(
        "--draw", choices=OWN_DATA, help="only draw data to train on: my_boxes/ and so on, and new_boxes.jpg to predict"
    )
    parser.add_argument(
        "--work-dir", type=Path, help="folder for everything it writes (default: work_dirs/demo; with --draw: here)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the images and of the training")
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes: only shows that all of it runs"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    _demo(parse_args(argv))


@quiet_libraries()
def _demo(args: argparse.Namespace) -> None:
    if args.draw is not None:
        _draw(args)
        return
    config, extra = TASKS[args.task]
    try:
        task = importlib.import_module(f"swinv2_dense.demo.{args.task}")
    except ImportError as error:
        raise UserError(extras.missing(f"the {args.task} demo", error, extra)) from error
    task.run(CONFIGS / "demo" / config, args.work_dir or Path("work_dirs/demo"), args.seed, quick=args.quick)


def _draw(args: argparse.Namespace) -> None:
    from swinv2_dense.demo.own_data import draw_own_data

    with bars() as progress:
        made = draw_own_data(args.draw, args.work_dir or Path(), args.seed, quick=args.quick, progress=progress)
    print(f"drawn: {made[0]}{os.sep} and {made[1]}; docs/own_data/{args.draw}.md trains and predicts on them")

"""Show what the training pipeline of a config makes of its data: every picture before and after.

tools/browse.py configs/coco/htc_swinv2_t.py --number 20
tools/browse.py configs/coco/htc_swinv2_b.py --only InstaBoost
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from swinv2_dense.cli import common as cli
from swinv2_dense.errors import UserError
from swinv2_dense.visualization.browse import browse


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument("--number", type=int, default=10, metavar="N", help="pictures (default 10)")
    parser.add_argument("--only", nargs="+", default=(), metavar="TRANSFORM", help="after loading, apply only these")
    parser.add_argument("--seed", type=int, default=0, help="of the random transforms (default 0)")
    cli.add_common_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.number < 1:
        raise UserError(f"--number {args.number}: give a number from 1 on")
    cfg = cli.load_config(args)
    folder = Path(cfg.work_dir, "browse")
    with Progress(transient=True) as bar:
        task = bar.add_task("drawing", total=args.number)
        written = browse(
            cfg,
            folder,
            args.number,
            only=args.only,
            seed=args.seed,
            progress=lambda done: bar.update(task, completed=done),
        )
    print(f"wrote {len(written)} pictures to {folder}: left as loaded, right as trained on")

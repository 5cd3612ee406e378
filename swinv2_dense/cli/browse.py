"""Show what the training pipeline of a config makes of its data: every image before and after.

Into WORK_DIR/browse, NAME.jpg for every image NAME.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.cli import common as cli
from swinv2_dense.cli.parser import Parser, add_common_options, add_config
from swinv2_dense.cli.progress import bars
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.errors import UserError


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("browse", __doc__, ("htc_swinv2_t --number 20", "htc_swinv2_b --only InstaBoost"))
    add_config(parser)
    parser.add_argument("--number", type=int, default=10, metavar="N", help="images (default 10)")
    parser.add_argument("--only", nargs="+", default=(), metavar="TRANSFORM", help="after loading, apply only these")
    parser.add_argument("--seed", type=int, default=0, help="of the random transforms (default 0)")
    add_common_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    _browse(parse_args(argv))


@quiet_libraries()
def _browse(args: argparse.Namespace) -> None:
    from swinv2_dense.visualization.browse import browse

    if args.number < 1:
        raise UserError(f"--number {args.number}: give a number from 1 on")
    cfg = cli.load_config(args)
    folder = Path(cfg.work_dir, "browse")
    with bars() as progress:
        written = browse(cfg, folder, args.number, only=args.only, seed=args.seed, progress=progress)
    print(f"wrote {len(written)} images to {folder}: left (clips: above) as loaded, right (below) as trained on")

"""Train small SwinV2s of growing depth with pre-norm and with res-post-norm: figure 2 of the paper in small.

Writes table.md, table.png and raw.json (every run). A command that was interrupted resumes with the next run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.cli.parser import HelpWithDefaults, Parser
from swinv2_dense.errors import UserError
from swinv2_dense.measure.amplitude_table import Protocol, draw, run_all, table
from swinv2_dense.measure.runs import write_results
from swinv2_dense.measure.small_classifier import read_splits


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    default = Protocol()
    parser = Parser(
        "amplitude-table",
        __doc__,
        ("data/imagenet --out work_dirs/amplitude_table",),
        formatter_class=HelpWithDefaults,
    )
    parser.add_argument("data", type=Path, help="folder with train/CLASS/*.jpg and val/CLASS/*.jpg")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/amplitude_table"), help="folder for the results")
    parser.add_argument("--depths", nargs="+", type=int, default=[2, 6, 12, 24], help="blocks of the third stage")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one run a norm, depth and seed")
    parser.add_argument("--epochs", type=float, default=default.epochs, help="of training")
    parser.add_argument("--side", type=int, default=default.side, help="of the images, in pixels")
    parser.add_argument("--width", type=int, default=default.embed_dims, help="channels of the first stage")
    args = parser.parse_args(argv)
    if min(args.depths) < 1:
        raise UserError(f"--depths {min(args.depths)}: a stage has at least one block")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    protocol = Protocol(args.width, args.side, args.epochs)
    train, test = read_splits(args.data, args.side * 3 // 2)
    protocol = Protocol(args.width, args.side, args.epochs, images=(len(train.labels), len(test.labels)))
    runs = run_all(protocol, args.depths, args.seeds, train, test, args.out, lambda line: print(line, flush=True))
    write_results(args.out, runs, table(runs), draw(runs))

"""Train a small SwinV2 with each position bias and test it at larger images and windows: table 1 of the paper in small.

Writes table.md, table.png and raw.json (every run). A command that was interrupted resumes with the next run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.cli.parser import HelpWithDefaults, Parser
from swinv2_dense.measure.runs import write_results
from swinv2_dense.measure.small_classifier import read_splits
from swinv2_dense.measure.transfer_table import BIASES, Protocol, draw, run_all, table


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    default = Protocol()
    parser = Parser(
        "transfer-table",
        __doc__,
        ("data/imagenet --out work_dirs/transfer_table",),
        formatter_class=HelpWithDefaults,
    )
    parser.add_argument("data", type=Path, help="folder with train/CLASS/*.jpg and val/CLASS/*.jpg")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/transfer_table"), help="folder for the results")
    parser.add_argument("--biases", nargs="+", choices=BIASES, default=BIASES, help="position biases to compare")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="one run a bias and seed")
    parser.add_argument("--epochs", type=float, default=default.epochs, help="of training at the first side")
    parser.add_argument("--lr", type=float, default=default.lr, help="of training")
    parser.add_argument("--fine-tune-epochs", type=float, default=default.fine_tune_epochs, help="at another side")
    parser.add_argument("--sides", nargs="+", type=int, default=default.sides, help="pixels; the first is trained at")
    parser.add_argument("--fine-tuned", nargs="*", type=int, default=default.fine_tuned, help="sides to fine-tune at")
    parser.add_argument("--width", type=int, default=default.embed_dims, help="channels of the first stage")
    parser.add_argument("--depths", nargs="+", type=int, default=default.depths, help="blocks of each stage")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    train, test = read_splits(args.data, max(args.sides))
    protocol = Protocol(
        args.width,
        tuple(args.depths),
        tuple(args.sides),
        tuple(args.fine_tuned),
        args.epochs,
        args.lr,
        args.fine_tune_epochs,
        images=(len(train.labels), len(test.labels)),
    )
    runs = run_all(protocol, args.biases, args.seeds, train, test, args.out, lambda line: print(line, flush=True))
    write_results(args.out, runs, table(runs, protocol), draw(runs, protocol))

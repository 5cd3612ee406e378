"""Pre-train a small SwinV2 by SimMIM and fine-tune it with few and with all labels, beside the same from scratch.

Writes table.md, table.png and raw.json (every run). A command that was interrupted resumes with the next run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from swinv2_dense.cli.parser import HelpWithDefaults, Parser
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.errors import UserError


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "simmim-table",
        __doc__,
        ("data/imagenet --out work_dirs/simmim_table",),
        formatter_class=HelpWithDefaults,
    )
    parser.add_argument("data", type=Path, help="folder with train/CLASS/*.jpg and val/CLASS/*.jpg")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/simmim_table"), help="folder for the results")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.1, 1.0], help="of the labels, above 0 up to 1")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0, 1, 2], help="one fine-tuning a start, share and seed"
    )
    parser.add_argument("--pretrain-epochs", type=int, default=40, help="of SimMIM, without labels")
    parser.add_argument("--iterations", type=int, default=1000, help="of every fine-tuning, of 32 images each")
    parser.add_argument("--side", type=int, default=64, help="of the images, in pixels")
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage")
    parser.add_argument("--depths", nargs="+", type=int, default=(1, 1, 2, 1), help="blocks of each stage")
    args = parser.parse_args(argv)
    for share in args.shares:
        if not 0 < share <= 1:
            raise UserError(f"--shares {share:g}: give shares of the labels above 0 and up to 1, such as 0.1")
    for name, least in (("pretrain_epochs", 1), ("iterations", 2)):
        if getattr(args, name) < least:
            raise UserError(f"--{name.replace('_', '-')} {getattr(args, name)}: give a number from {least} on")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    _measure(parse_args(argv))


@quiet_libraries()
def _measure(args: argparse.Namespace) -> None:
    from swinv2_dense.extras import missing

    try:
        from swinv2_dense.measure import simmim_table
    except ImportError as error:
        raise UserError(missing("simmim-table", error, "cls")) from error
    from swinv2_dense.measure.runs import write_results

    protocol = simmim_table.Protocol(
        args.width,
        tuple(args.depths),
        args.side,
        pretrain_epochs=args.pretrain_epochs,
        iterations=args.iterations,
    )
    data = simmim_table.Data.read(args.data)
    protocol = replace(protocol, images=(sum(data.train), sum(data.val)))
    runs = simmim_table.run_all(protocol, args.shares, args.seeds, data, args.out, lambda line: print(line, flush=True))
    losses = json.loads((args.out / "runs" / "pretraining.json").read_text())["losses"]
    write_results(args.out, runs, simmim_table.table(runs), simmim_table.draw(runs, losses))

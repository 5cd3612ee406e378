"""Show what a trained model gets wrong on its validation data: confusion matrix, table by class, worst images, curves.

Into RUN/analysis: confusion.png and confusion.csv (rows the truth), classes.csv, worst/ (truth beside prediction, the
worst first), scalars.csv and curves.png (losses and metrics over the steps).
"""

from __future__ import annotations

import argparse
import heapq
import os
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.progress import bars
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    examples = ("work_dirs/boxes", "work_dirs/boxes --checkpoint work_dirs/boxes/epoch_12.pth --score 0.5 --worst 30")
    parser = Parser("analyze", __doc__, examples)
    parser.add_argument("run", type=Path, help="work dir of a training")
    parser.add_argument("--checkpoint", type=Path, help="default: the run's best one, else its latest")
    parser.add_argument("--score", type=float, default=0.3, help="detections below it do not count (default 0.3)")
    parser.add_argument(
        "--iou", type=float, default=0.5, help="overlap from which a detection is an object (default 0.5)"
    )
    parser.add_argument("--worst", type=int, default=12, metavar="N", help="images to draw (default 12)")
    parser.add_argument("--device", help="such as cuda:0 (default: a GPU where there is one)")
    parser.add_argument("--out", type=Path, help="folder (default: RUN/analysis)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    _analyze(parse_args(argv))


@quiet_libraries()
def _analyze(args: argparse.Namespace) -> None:
    import numpy as np

    from swinv2_dense.analysis import count, report, truths
    from swinv2_dense.checks.classes import check_trained
    from swinv2_dense.inference.predictor import Predictor
    from swinv2_dense.inference.run_folders import checkpoint_of, find_checkpoint, run_of

    if args.worst < 0:
        raise UserError(f"--worst {args.worst}: give a number from 0 on")
    if not 0 < args.iou <= 1:
        raise UserError(f"--iou {args.iou:g}: give a number above 0, to 1")
    if not args.run.is_dir():
        raise UserError(f"{shown(args.run)} is no folder: give the work dir of a training")
    checkpoint = Path(checkpoint_of(args.checkpoint)) if args.checkpoint else find_checkpoint(args.run)
    if (other := run_of(checkpoint)) is not None and not os.path.samefile(other, args.run):
        raise UserError(
            f"{shown(checkpoint)} is of another run, and curves would be of this one: analyze {shown(other)}"
        )
    out = args.out or args.run / "analysis"
    predictor = Predictor(checkpoint, device=args.device, score=args.score)
    everything = list(truths(predictor.loaded.cfg))
    names = list(everything[0].classes) if everything else []
    if not names:
        raise UserError(f"{shown(checkpoint)}: its config has no validation data with named classes")
    check_trained(str(checkpoint), predictor.loaded.classes or None, "val_dataloader.dataset", names)
    matrix = np.zeros((len(names) + 1, len(names) + 1), np.int64)
    worst: list[tuple[float, int, object, object]] = []
    with bars() as progress:
        for index, truth in enumerate(everything):
            predicted = predictor(truth.source)
            counted = count(truth, predicted, len(names), iou=args.iou)
            matrix += counted.matrix
            if counted.errors > 0:
                (heapq.heappush if len(worst) < args.worst else heapq.heappushpop)(
                    worst, (counted.errors, -index, truth, predicted)
                )
            progress("comparing", index + 1, len(everything))
    cases = [(errors, truth, predicted) for errors, _, truth, predicted in sorted(worst, key=lambda w: (-w[0], -w[1]))]
    table = report.class_table(matrix, names)
    report.write_csv(out / "classes.csv", table)
    labels = [*names, report.NOTHING]
    rows = [
        dict(zip(["true", *labels], [name, *row], strict=True))
        for name, row in zip(labels, matrix.tolist(), strict=True)
    ]
    report.write_csv(out / "confusion.csv", rows)
    report.draw_confusion(matrix, names, out / "confusion.png")
    written = report.write_worst(cases, out / "worst")  # type: ignore[arg-type]
    scalars = report.read_scalars(args.run)
    if scalars:
        report.write_csv(out / "scalars.csv", scalars)
        report.draw_curves(scalars, out / "curves.png")
    _show(table)
    parts = f"the table, the confusion matrix, {'curves, ' if scalars else ''}and the {len(written)} worst"
    print(f"{shown(checkpoint)} on {len(everything)} of its validation data: {shown(out)} has {parts}")


def _show(table: Sequence[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown_table = Table(*table[0])
    for row in table:
        shown_table.add_row(*("" if value is None else str(value) for value in row.values()))
    console = Console()
    if not console.is_terminal:
        console.width = 140
    console.print(shown_table, highlight=False)

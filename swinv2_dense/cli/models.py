"""List the models that come with the package: task, size, cost, and what the paper reports of them.

FLOPs are multiply-adds of one forward pass in testing. The scores are reported in the paper and not reproduced here;
a model without one is not in the paper. docs/results.md has more columns.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from swinv2_dense.cli.parser import Parser
from swinv2_dense.errors import UserError
from swinv2_dense.model_index import Model, models
from swinv2_dense.suggestions import did_you_mean


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("models", __doc__, ("", "htc", "'*swinv2_[tb]'"))
    parser.add_argument("pattern", nargs="?", default="", help="part of a name, or a name with * ? [] in it")
    parser.add_argument("--names", action="store_true", help="print the names alone, one a line")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    found = models(args.pattern)
    if not found:
        stems = [model.name.rpartition("/")[2] for model in models()]
        hint = did_you_mean(args.pattern, stems, otherwise="swinv2 models lists them all")
        raise UserError(f"no model is called {args.pattern!r}: {hint}")
    if args.names:
        print("\n".join(model.name for model in found))
    else:
        _show(found)


def _show(found: Sequence[Model]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = 120
    table = Table("model", "task", "parameters", "FLOPs", "the paper's number", box=None, header_style="bold")
    for column in (2, 3):
        table.columns[column].justify = "right"
    for model in found:
        scores = ", ".join(f"{name} {value}" for name, value in model.scores.items())
        table.add_row(model.name, model.task, _short(model.parameters, 1e6, "M"), _short(model.flops, 1e9, "G"), scores)
    console.print(table)
    console.print("swinv2 train MODEL trains one; the paper's numbers are not reproduced here", style="dim")


def _short(value: int | None, unit: float, letter: str) -> str:
    return "" if value is None else f"{value / unit:,.0f} {letter}"

"""The command ``swinv2``: finds the module of a subcommand and runs it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from swinv2_dense.cli import common
from swinv2_dense.errors import UserError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "train": "swinv2_dense.cli.train",
    "test": "swinv2_dense.cli.test",
    "checkpoint": "swinv2_dense.cli.checkpoint",
    "plan": "swinv2_dense.cli.plan",
    "prepare coco": "swinv2_dense.cli.prepare.coco",
    "prepare ade20k": "swinv2_dense.cli.prepare.ade20k",
    "prepare kinetics400": "swinv2_dense.cli.prepare.kinetics400",
    "browse": "swinv2_dense.cli.browse",
    "amplitude": "swinv2_dense.cli.amplitude",
    "results": "swinv2_dense.cli.results",
    "transfer-table": "swinv2_dense.cli.transfer_table",
    "bench": "swinv2_dense.cli.bench",
    "demo": "swinv2_dense.cli.demo",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``swinv2 COMMAND ...``; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return common.run(lambda: _dispatch(argv))


def _dispatch(argv: Sequence[str]) -> None:
    for words in (2, 1):
        module = COMMANDS.get(" ".join(argv[:words]))
        if module is not None:
            importlib.import_module(module).main(argv[words:])
            return
    _unknown(argv)


def _unknown(argv: Sequence[str]) -> None:
    raise UserError(f"unknown command {' '.join(argv[:1])!r}: there are {', '.join(COMMANDS)}")

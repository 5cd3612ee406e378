"""Write docs/results.md, the page of results, from the metafiles beside the configs of a checkout."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.cli.parser import Parser
from swinv2_dense.cli.progress import bars
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.config_files import CONFIGS
from swinv2_dense.files import write_text

ROOT = CONFIGS.parent


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("results", __doc__, ("", "--count --out results.md"))
    parser.add_argument("--count", action="store_true", help="first count parameters and FLOPs again, in the metafiles")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results.md", help="default: docs/results.md")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    _results(parse_args(argv))


@quiet_libraries()
def _results(args: argparse.Namespace) -> None:
    from swinv2_dense.measure.results import recount, render

    metafiles = sorted(CONFIGS.glob("*/metafile.yml"))
    if args.count:
        with bars() as progress:
            for path in metafiles:
                recount(path, ROOT, progress)
    write_text(args.out, render(metafiles))
    print(f"wrote {args.out} from {len(metafiles)} metafiles")

"""Write docs/results.md from configs/*/metafile.yml."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from swinv2_dense.files import write_text
from swinv2_dense.measure.results import recount, render

ROOT = Path(__file__).resolve().parents[2]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", action="store_true", help="first count parameters and FLOPs anew, in the metafiles")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results.md", help="default: docs/results.md")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    metafiles = sorted(ROOT.glob("configs/*/metafile.yml"))
    if args.count:
        with Progress(transient=True) as bar:
            task = bar.add_task("counting", total=None)
            for path in metafiles:
                recount(path, ROOT, lambda name: bar.update(task, description=f"counting {name}"))
    write_text(args.out, render(metafiles))
    print(f"wrote {args.out} from {len(metafiles)} metafiles")

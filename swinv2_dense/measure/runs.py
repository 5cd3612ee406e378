"""Repeated runs of one experiment: each is a file, none is run twice, and their mean and spread are what counts."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, write_figure, write_text

__all__ = ["cell", "mean_and_spread", "run_missing", "write_results"]

Run = dict[str, Any]


def run_missing(jobs: Iterable[tuple[str, Callable[[], Run]]], settings: Mapping[str, Any], folder: Path) -> list[Run]:
    """The results of all jobs, those from ``folder``/NAME.json that were run before.

    Args:
        jobs: a name, and what runs it. Every result is written as soon as there is one.
        settings: what a job's result depends on beside its name; they are written with it.

    Raises:
        UserError: a result there was made with other settings.
    """
    runs, settings = [], json.loads(json.dumps(settings))  # as they come back from a file
    for name, job in jobs:
        path = folder / f"{name}.json"
        done = _finished(path, settings)
        if done is None:
            done = {**job(), "protocol": settings}
            write_text(path, json.dumps(done, indent=1))
        runs.append(done)
    return runs


def _finished(path: Path, settings: Mapping[str, Any]) -> Run | None:
    """The run that a file holds; None where there is none."""
    if not path.is_file():
        return None
    found: Run = json.loads(read_text(path, "run"))
    for key, value in settings.items():
        if found["protocol"].get(key) != value:
            raise UserError(f"{path} was run with {key}={found['protocol'].get(key)}, not {value}: name another --out")
    return found


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation, 0 of one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def cell(values: Sequence[float], sign: str = "") -> str:
    """``mean ± spread`` of a table; nothing of no values. ``sign``: '+' for changes."""
    mean, spread = mean_and_spread(values) if values else (0.0, 0.0)
    return f"{mean:{sign}.1f} ± {spread:.1f}" if values else ""


def write_results(out: Path, runs: Sequence[Run], text: str, figure: Any) -> None:
    """Write raw.json, table.md and table.png, and print the table."""
    write_text(out / "raw.json", json.dumps(runs, indent=1))
    write_text(out / "table.md", text)
    write_figure(out / "table.png", figure, dpi=110)
    print(text)
    print(f"wrote table.md, table.png and raw.json to {out}")

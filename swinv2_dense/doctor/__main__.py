"""Print one table of what is installed and, beneath it, the commands that mend what is broken."""

from __future__ import annotations

import argparse
import faulthandler
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from swinv2_dense.doctor import PARTS, Facts, Finding, collect, examine

_CHECKOUT = Path(__file__).resolve().parents[2]
_EXTRAS = {"det": ("det",), "seg": ("seg",), "video": ("video",), "all": ("det", "seg", "video"), "test": ("test",)}


def mending(finding: Finding, prefix: Path = Path(sys.prefix)) -> str:
    """The command for this environment: ``make install`` mends all that it has made itself."""
    if not finding.mend:
        return ""
    if (prefix / ".swinv2_dense.json").exists() and (_CHECKOUT / "tools/install.py").exists():
        here = "" if Path.cwd() == _CHECKOUT else f" -C {os.path.relpath(_CHECKOUT)}"
        venv = "" if prefix.resolve() == (_CHECKOUT / ".venv").resolve() else f" VENV={prefix}"
        return f"make{here} install{venv}"
    return finding.mend.format(pip=f"{sys.executable} -m pip")


def table(facts: Facts, findings: dict[str, Finding]) -> Table:
    """Every part with its version and its state, then the machine."""
    rows = Table("part", "version", "state", title="swinv2_dense", title_justify="left")
    rows.add_row("Python", platform.python_version(), "")
    for part in PARTS:
        installed = part.module in facts.versions or bool(facts.suppliers.get(part.module.split(".")[0]))
        state = f"{facts.operators} operators" if part.module == "mmcv.ops" and facts.operators else "works"
        if not installed:
            state = f"absent (extra {', '.join(part.extras)})"
        version = "" if part.module == "mmcv.ops" else facts.versions.get(part.module, "")
        rows.add_row(part.module, version, _state(findings.get(part.module), state))
    setuptools = findings.get("setuptools")
    rows.add_row("setuptools", facts.distributions.get("setuptools", ""), _state(setuptools, "works"))
    rows.add_row("CPU kernels", "", _state(findings.get("CPU kernels"), "compiled for this processor"))
    rows.add_row("GPU", facts.torch_cuda and f"CUDA {facts.torch_cuda}", ", ".join(facts.cards) or "none visible")
    return rows


def _state(finding: Finding | None, otherwise: str) -> str:
    if finding is None:
        return otherwise
    return f"[bold red]broken:[/] {escape(finding.problem)}" if finding.broken else escape(finding.problem)


def _extra(name: str) -> str:
    if name not in _EXTRAS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_EXTRAS)}")
    return name


def main(arguments: Iterable[str] | None = None) -> int:
    """Returns 1 if something that is installed or required is broken."""
    parser = argparse.ArgumentParser(prog="python -m swinv2_dense.doctor", description=__doc__)
    told = f"must be there: {', '.join(_EXTRAS)}"
    parser.add_argument("extras", nargs="*", type=_extra, metavar="EXTRA", help=told)
    chosen = parser.parse_args(None if arguments is None else list(arguments)).extras
    console = Console()
    with console.status("importing") as status:
        facts = collect(lambda module: status.update(f"importing {module}"))
    findings = examine(facts, {extra for name in chosen for extra in _EXTRAS[name]})
    console.print(table(facts, findings))
    for command in dict.fromkeys(filter(None, map(mending, findings.values()))):
        console.print(f"to mend: {command}", markup=False, highlight=False, soft_wrap=True)
    return int(any(finding.broken for finding in findings.values()))


if __name__ == "__main__":
    faulthandler.enable()  # a part compiled for another torch may end the whole process; this shows which
    sys.exit(main())

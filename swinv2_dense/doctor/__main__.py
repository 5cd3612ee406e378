"""Print one table of what is installed and, beneath it, the commands that fix what is broken."""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from swinv2_dense.cli.parser import Parser
from swinv2_dense.doctor import PARTS, Facts, Finding, collect, examine

_CONSTRAINTS = Path(__file__).resolve().parents[2] / "requirements/constraints.txt"
_EXTRAS: dict[str, tuple[str, ...]] = {
    extra: (extra,) for extra in ("det", "seg", "video", "cls", "export", "web", "test")
}
_EXTRAS["all"] = ("det", "seg", "video", "cls", "export")

_OPERATORS = {"torchvision": "works, on torchvision's operators", "": "works"}


def fixing(finding: Finding, constraints: Path = _CONSTRAINTS) -> str:
    """The command for this environment; in a checkout it keeps to the tested set."""
    pip = f"{sys.executable} -m pip"
    if importlib.util.find_spec("pip") is None:  # as in environments that uv makes
        return finding.fix.replace(" --yes", "").format(pip="uv pip")
    command = finding.fix.format(pip=pip)
    return command.replace(" install ", f" install -c {constraints} ") if constraints.exists() else command


def table(facts: Facts, findings: dict[str, Finding]) -> Table:
    """Every part with its version and its state, then the machine."""
    rows = Table("part", "version", "state", title="swinv2_dense", title_justify="left")
    rows.add_row("Python", platform.python_version(), "")
    for part in PARTS:
        installed = part.module in facts.versions or bool(facts.suppliers.get(part.module.split(".")[0]))
        state = _OPERATORS.get(facts.operators, facts.operators) if part.module == "mmcv.ops" else "works"
        if not installed:
            state = f"absent (extra {', '.join(part.extras)})"
        version = "" if part.module == "mmcv.ops" else facts.versions.get(part.module, "")
        rows.add_row(part.module, version, _state(findings.get(part.module), state))
    rows.add_row("CPU kernels", "", _state(findings.get("CPU kernels"), "compiled for this processor"))
    gpu = ", ".join(facts.cards) or "none"
    rows.add_row("GPU", facts.torch_cuda and f"CUDA {facts.torch_cuda}", _state(findings.get("GPU"), gpu))
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
    parser = Parser("doctor", __doc__, ("", "det seg"))
    needed = f"must be there: {', '.join(_EXTRAS)}"
    parser.add_argument("extras", nargs="*", type=_extra, metavar="EXTRA", help=needed)
    chosen = parser.parse_args(None if arguments is None else list(arguments)).extras
    console = Console()
    with console.status("importing") as status:
        facts = collect(lambda module: status.update(f"importing {module}"))
    findings = examine(facts, {extra for name in chosen for extra in _EXTRAS[name]})
    console.print(table(facts, findings))
    for command in dict.fromkeys(filter(None, map(fixing, findings.values()))):
        console.print(f"to fix: {command}", markup=False, highlight=False, soft_wrap=True)
    return int(any(finding.broken for finding in findings.values()))


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main())

"""Speed and memory of SwinV2 backbones, detectors and segmentors: ours beside those of timm, MMPretrain and Hugging
Face, as installed, eager, by torch.compile and by ONNX Runtime.

Every measurement has a process of its own, so that peak memory is that model's alone (on a GPU, whose memory is counted
for a model, every implementation has one), and the implementations take turns, so that none has the machine's better
minutes. Prints a table of medians and of ratios to the fastest and the leanest peer, and writes results.json and
results.png. The floor is what the case's matrix products would take at the rate of one large matrix product, measured
here as well; its share of our time is how much of that rate we reach."""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from swinv2_dense.cli.parser import Parser
from swinv2_dense.errors import UserError
from swinv2_dense.files import make_out, write_figure, write_text
from swinv2_dense.measure.benchmark import profile
from swinv2_dense.measure.benchmark_cases import CARD, DEFAULT, cases
from swinv2_dense.measure.benchmark_run import IMPLEMENTATIONS, run_cases, work
from swinv2_dense.suggestions import did_you_mean


def show(results: Sequence[dict[str, Any]], console: Console) -> None:
    """A table of all that was measured, and one of ours: the floor, and the ratios to the best peer in each respect."""
    names = [name for name in IMPLEMENTATIONS if any(name in r["measured"] for r in results)]
    everything = Table("case", *names, show_lines=True)
    summary = Table("case", "ours s", "floor s", "share of the matrix rate", "fastest peer s", "speed")
    for column in ("ours MiB", "leanest peer MiB", "memory", "error"):
        summary.add_column(column)
    for result in results:
        everything.add_row(result["name"], *(_cell(result, name) for name in names))
        ours = result["measured"].get("ours")
        peers = {name: m for name, m in result["measured"].items() if not name.startswith("ours")}
        if ours is None:
            continue
        share, error = result["floor"] / ours["seconds"], result["relative_error"]
        fastest, leanest = (min(peers, key=lambda name: peers[name][key], default="") for key in ("seconds", "mib"))
        fast, lean = peers.get(fastest), peers.get(leanest)
        summary.add_row(
            result["name"],
            f"{ours['seconds']:#.3g}",
            f"{result['floor']:#.3g}" if share else "",
            f"{share:.0%}" if share else "",
            f"{fast['seconds']:#.3g} ({fastest})" if fast else "",
            f"{fast['seconds'] / ours['seconds']:.1f}x" if fast else "",
            f"{ours['mib']:.0f}",
            f"{lean['mib']:.0f} ({leanest})" if lean else "",
            f"1/{lean['mib'] / max(ours['mib'], 1e-3):.1f}" if lean else "",
            "" if error is None else f"{error:.0e}",
        )
    console.print(everything, summary)
    for dtype, rate in {result["dtype"]: result["matrix_rate"] for result in results}.items():
        console.print(f"matrix rate, {dtype}: {rate / 1e12:#.3g} TFLOP/s", markup=False)


def _cell(result: dict[str, Any], name: str) -> str:
    """Time, memory and rate of an implementation, or why there is none."""
    if (m := result["measured"].get(name)) is None:
        return str(result["failed"].get(name, "")).partition(":")[0]
    images = result.get("batch", 1) / m["seconds"]
    return f"{m['seconds']:#.3g} s\n{m['mib']:.0f} MiB\n{images:#.3g} images/s"


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(14, 1 + 0.9 * len(results)), sharey=True, layout="constrained")
    names = [name for name in IMPLEMENTATIONS if any(name in r["measured"] for r in results)]
    height = 0.8 / len(names)
    for axis, key, label in zip(axes, ("seconds", "mib"), ("seconds a step", "peak extra memory, MiB"), strict=True):
        for i, name in enumerate(names):
            rows = [
                (row + i * height, r["measured"][name][key]) for row, r in enumerate(results) if name in r["measured"]
            ]
            axis.barh([y for y, _ in rows], [v for _, v in rows], height=height, label=name)
        axis.set(xscale="log", xlabel=label)
        axis.grid(axis="x", alpha=0.3)
    for row, result in enumerate(results):
        axes[0].plot([result["floor"]] * 2, [row - height / 2, row + 0.8 - height / 2], "k--", linewidth=1)
    axes[0].set_yticks([row + 0.4 - height / 2 for row in range(len(results))], [r["name"] for r in results])
    axes[0].invert_yaxis()
    axes[1].legend()
    figure.suptitle("dashed: the floor of a plain matrix product")
    write_figure(path, figure, 110)


def machine(device: str) -> str:
    if device == "cuda":
        name = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
        name += f", {torch.get_num_threads()} threads"
    return f"{name}; torch {torch.__version__}, Python {platform.python_version()}"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("bench", __doc__, ("--list", "--profile"))
    parser.add_argument(
        "cases", nargs="*", help="names of cases (default: those of the docs page, with --device cuda a GPU's)"
    )
    parser.add_argument("--list", action="store_true", help="print the names of all cases and stop")
    parser.add_argument(
        "--peers", nargs="+", choices=IMPLEMENTATIONS[1:], default=IMPLEMENTATIONS[1:], help="only these (default: all)"
    )
    parser.add_argument(
        "--rounds", type=int, help="processes an implementation, in turns with the others (default: 2, on a GPU 1)"
    )
    parser.add_argument("--runs", type=int, default=2, help="timed steps a process, or more within two seconds")
    parser.add_argument("--minutes", type=float, default=math.inf, help="leave out what these do not hold")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmark"), help="folder of results.json and .png")
    parser.add_argument("--profile", action="store_true", help="instead print where our own time goes")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    known = cases()
    if args.worker:
        what, runs, device, *names = args.worker
        work(what, int(runs), device, [known[name] for name in names])
        return
    if args.list:
        print("\n".join(known))
        return
    if unknown := [name for name in args.cases if name not in known]:
        hint = did_you_mean(unknown[0], known, otherwise="--list prints them all")
        raise UserError(f"there is no case {unknown[0]!r}: {hint}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU; leave the option out to measure the CPU")
    on_gpu = args.device == "cuda"
    chosen = [known[name] for name in args.cases or (CARD if on_gpu else DEFAULT)]
    if args.profile:
        for case in chosen:
            profile(case, args.device)
        return
    make_out(args.out)  # minutes of measurements are not to be lost
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(machine(args.device), markup=False)
    rounds = args.rounds or (1 if on_gpu else 2)
    results = run_cases(chosen, args.peers, rounds, args.runs, args.device, console, args.minutes)
    if not any(result["measured"] for result in results):
        raise UserError("nothing could be measured; the lines above say why")
    show(results, console)
    write_text(args.out / "results.json", json.dumps({"machine": machine(args.device), "results": results}, indent=1))
    draw(results, args.out / "results.png")
    console.print(f"written: {args.out / 'results.json'}, {args.out / 'results.png'}", markup=False)

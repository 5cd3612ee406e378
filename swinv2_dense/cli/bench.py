"""Speed and memory of SwinV2 backbones, detectors and segmentors: ours beside those of timm, MMPretrain and Hugging
Face, as installed, eager, by torch.compile and by ONNX Runtime.

Every measurement has a process of its own, so that peak memory is that model's alone, and the implementations take
turns, so that none has the machine's better minutes. Prints a table of medians and of ratios to the fastest and the
leanest peer, and writes results.json and results.png. The floor is what the case's matrix products would take at the
rate of one large matrix product, measured here as well."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from swinv2_dense.cli.parser import Parser
from swinv2_dense.errors import UserError
from swinv2_dense.files import make_out, write_figure, write_text
from swinv2_dense.measure.benchmark import Case, floor, matrix_rate, measure, profile
from swinv2_dense.measure.benchmark_cases import DEFAULT, cases
from swinv2_dense.suggestions import did_you_mean

IMPLEMENTATIONS = (
    *("ours", "timm", "timm-compiled", "timm-onnx", "mmpretrain", "huggingface", "huggingface-compiled", "mmaction"),
    *("onnx", "pt2"),
)


def _in_a_process_of_its_own(*options: str) -> dict[str, Any] | None:
    """Run this file as a worker; None where the peer is not installed or fails, with its last line printed."""
    command = [sys.executable, "-m", "swinv2_dense", "bench", "--worker", *options]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    if done.returncode:
        killed = "killed, as a rule for want of memory" if done.returncode < 0 else "no message"
        said = done.stderr.strip().splitlines() or [killed]
        reason = next((line for line in reversed(said) if re.match(r"[\w.]+(Error|Exception):", line)), said[-1])
        Console(stderr=True).print(f"  {' '.join(options[:2])} left out: {reason}", markup=False)
        return None
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def run_cases(
    chosen: Sequence[Case], peers: Sequence[str], rounds: int, runs: int, device: str, console: Console
) -> list[dict[str, Any]]:
    rates: dict[str, float] = {}
    results: list[dict[str, Any]] = []
    for i, case in enumerate(chosen, start=1):
        console.print(f"[{i}/{len(chosen)}] {case.name}", markup=False)
        # the best of all its minutes: a floor
        rates[case.dtype] = max(rates.get(case.dtype, 0.0), matrix_rate(device, case.dtype))
        found: dict[str, list[dict[str, float]]] = {}
        # in turns: a machine that others use is faster now and slower then, and all shall meet both
        for turn in range(rounds):
            for implementation in ("ours", *(name for name in case.peers if name in peers)):
                if turn and implementation not in found:
                    continue
                with console.status(f"{implementation} ..."):
                    one = _in_a_process_of_its_own(case.name, implementation, str(runs), device)
                if one is not None:
                    found.setdefault(implementation, []).append(one)
        measured = {}
        for name, ones in found.items():
            m = measured[name] = {key: statistics.median(one[key] for one in ones) for key in ("seconds", "mib")}
            spread = f"{min(one['seconds'] for one in ones):.3f} to {max(one['seconds'] for one in ones):.3f}"
            console.print(f"  {name:<20} {m['seconds']:8.3f} s ({spread}) {m['mib']:8.0f} MiB", markup=False)
        checks = _in_a_process_of_its_own(case.name, "checks", "0", device) or {"error": None, "flops": 0}
        results.append(
            {**asdict(case), "measured": measured, "relative_error": checks["error"], "flops": checks["flops"]}
        )
    for case, result in zip(chosen, results, strict=True):
        result["floor"] = floor(result["flops"], rates[case.dtype], train=case.train)
    return results


def show(results: Sequence[dict[str, Any]], console: Console) -> None:
    """One row a case: ours, the floor, and the ratios to the best peer in each respect."""
    table = Table(
        "case", "ours s", "floor s", "fastest peer s", "speed", "ours MiB", "leanest peer MiB", "memory", "error"
    )
    for result in results:
        ours = result["measured"].get("ours")
        peers = {name: m for name, m in result["measured"].items() if name != "ours"}
        if ours is None or not peers:
            continue
        fast = min(peers, key=lambda name: peers[name]["seconds"])
        lean = min(peers, key=lambda name: peers[name]["mib"])
        error = result["relative_error"]
        table.add_row(
            result["name"],
            f"{ours['seconds']:.3f}",
            f"{result['floor']:.3f}",
            f"{peers[fast]['seconds']:.3f} ({fast})",
            f"{peers[fast]['seconds'] / ours['seconds']:.1f}x",
            f"{ours['mib']:.0f}",
            f"{peers[lean]['mib']:.0f} ({lean})",
            f"1/{peers[lean]['mib'] / max(ours['mib'], 1e-3):.1f}",
            "" if error is None else f"{error:.0e}",
        )
    console.print(table)


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
        "cases", nargs="*", default=list(DEFAULT), help="names of cases (default: those of the docs page)"
    )
    parser.add_argument("--list", action="store_true", help="print the names of all cases and stop")
    parser.add_argument(
        "--peers", nargs="+", choices=IMPLEMENTATIONS[1:], default=IMPLEMENTATIONS[1:], help="only these (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="processes an implementation, in turns with the others")
    parser.add_argument("--runs", type=int, default=2, help="timed steps a process, or more within two seconds")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmark"), help="folder of results.json and .png")
    parser.add_argument("--profile", action="store_true", help="instead print where our own time goes")
    parser.add_argument("--worker", nargs=4, metavar=("CASE", "WHAT", "RUNS", "DEVICE"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    known = cases()
    if args.worker:
        name, what, runs, device = args.worker
        case = known[name]
        if what == "checks":
            print(json.dumps({"error": case.error() if device == "cpu" else None, "flops": case.flops()}))
        else:
            print(json.dumps(measure(what, case, int(runs), device)))
        return
    if args.list:
        print("\n".join(known))
        return
    if unknown := [name for name in args.cases if name not in known]:
        hint = did_you_mean(unknown[0], known, otherwise="--list prints them all")
        raise UserError(f"there is no case {unknown[0]!r}: {hint}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU; leave the option out to measure the CPU")
    chosen = [known[name] for name in args.cases]
    if args.profile:
        for case in chosen:
            profile(case, args.device)
        return
    make_out(args.out)  # minutes of measurements are not to be lost
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(machine(args.device), markup=False)
    results = run_cases(chosen, args.peers, args.rounds, args.runs, args.device, console)
    show(results, console)
    write_text(args.out / "results.json", json.dumps({"machine": machine(args.device), "results": results}, indent=1))
    draw(results, args.out / "results.png")
    console.print(f"written: {args.out / 'results.json'}, {args.out / 'results.png'}", markup=False)

"""The turns of ``swinv2 bench``: every implementation of every case in processes of their own."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console

from swinv2_dense.measure.benchmark import Case, floor, matrix_rate, measure

__all__ = ["IMPLEMENTATIONS", "in_a_process_of_its_own", "run_cases", "work"]

# In the order of their turns: last what compiles for minutes.
IMPLEMENTATIONS = (
    *("ours", "timm", "mmpretrain", "huggingface", "flash-window", "mmaction", "onnx", "pt2", "timm-onnx"),
    *("timm-compiled", "ours-compiled", "huggingface-compiled"),
)


def work(what: str, runs: int, device: str, chosen: Sequence[Case]) -> None:
    """Print a line of JSON for every case once it is done: what was measured of an implementation, or what its
    ``checks`` found; or why not."""
    for case in chosen:
        found: dict[str, Any]
        try:
            if what == "checks":
                found = {"error": case.error() if device == "cpu" else None, "flops": case.flops(device)}
            else:
                found = dict(measure(what, case, runs, device))
        except torch.OutOfMemoryError:
            found = {"failed": "out of memory"}
        except Exception as error:  # a peer may fail as it likes
            found = {"failed": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
        print(json.dumps({"case": case.name, **found}), flush=True)
        torch.compiler.reset()  # after some models of a process the next would stay uncompiled
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()


def in_a_process_of_its_own(
    what: str, runs: int, device: str, chosen: Sequence[Case], seconds: float = math.inf
) -> dict[str, dict[str, Any]]:
    """Run :func:`work` in a process, of so many ``seconds`` at most: what it found of every case, or why not."""
    names = [case.name for case in chosen]
    reason = "no time left"
    lines: list[dict[str, Any]] = []
    if seconds > 0:
        command = [sys.executable, "-m", "swinv2_dense", "bench", "--worker", what, str(runs), device, *names]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            with contextlib.suppress(subprocess.TimeoutExpired):
                limit = None if seconds == math.inf else seconds
                done = subprocess.run(command, stdout=output, stderr=errors, env=environment, timeout=limit)
                errors.seek(0)
                said = errors.read().strip().splitlines() or ["no message"]
                reason = next(
                    (line for line in reversed(said) if re.match(r"[\w.]+(Error|Exception):", line)), said[-1]
                )
                if done.returncode < 0:
                    reason = "killed, as a rule for want of memory"
            output.seek(0)
            lines = [json.loads(line) for line in output if line.startswith('{"case": ') and line.endswith("}\n")]
    return {name: {"failed": reason} for name in names} | {line.pop("case"): line for line in lines}


def run_cases(
    chosen: Sequence[Case],
    peers: Sequence[str],
    rounds: int,
    runs: int,
    device: str,
    console: Console,
    minutes: float = math.inf,
) -> list[dict[str, Any]]:
    """What was measured of every case; what ``minutes`` do not hold is left out."""
    end = time.monotonic() + 60 * minutes
    rates: dict[str, float] = {}
    results: list[dict[str, Any]] = []
    # A process's memory is one case's. A GPU's is counted for each, and there starting takes longer than measuring.
    for group in [chosen] if device == "cuda" else [[case] for case in chosen]:
        first = 1 + len(results)
        last = "" if len(group) == 1 else f" to {len(chosen)}"
        console.print(f"[{first}{last}/{len(chosen)}] {group[0].name if not last else '...'}", markup=False)
        for dtype in {case.dtype for case in group}:  # the best of all its minutes: a floor
            rates[dtype] = max(rates.get(dtype, 0.0), matrix_rate(device, dtype))
        found: dict[str, dict[str, list[dict[str, Any]]]] = {case.name: {} for case in group}
        # in turns: a machine that others use is faster now and slower then, and all shall meet both
        for turn in range(rounds):
            for what in ("ours", "checks", *(name for name in IMPLEMENTATIONS if name in peers)):
                of = [case for case in group if what in ("ours", "checks", *case.peers(device))]
                todo = [case for case in of if not turn or "failed" not in found[case.name][what][0]]
                if not todo or (turn and what == "checks"):
                    continue
                start = time.monotonic()
                with console.status(f"{what} ..."):
                    answers = in_a_process_of_its_own(what, runs, device, todo, end - start)
                if len(group) > 1:
                    console.print(f"  {what}: {time.monotonic() - start:.0f} s for {len(todo)} cases", markup=False)
                _print_failures(what, answers)
                for name, answer in answers.items():
                    found[name].setdefault(what, []).append(answer)
        for case in group:
            if len(group) > 1:
                console.print(case.name, markup=False)
            results.append(_result(case, found[case.name], console))
    for case, result in zip(chosen, results, strict=True):
        result["matrix_rate"] = rates[case.dtype]
        result["floor"] = floor(result["flops"], rates[case.dtype], train=case.train)
    return results


def _print_failures(what: str, answers: Mapping[str, Mapping[str, Any]]) -> None:
    """A line for every reason."""
    reasons: dict[str, list[str]] = {}
    for name, answer in answers.items():
        if "failed" in answer:
            reasons.setdefault(answer["failed"], []).append(name)
    for reason, names in reasons.items():
        where = "" if len(names) == len(answers) else f" of {', '.join(names)}"
        Console(stderr=True).print(f"  {what}{where} left out: {reason}", markup=False)


def _result(case: Case, found: Mapping[str, Sequence[Mapping[str, Any]]], console: Console) -> dict[str, Any]:
    """Medians of a case, which are printed, and what failed."""
    measured, failed = {}, {}
    for name, answers in found.items():
        ones = [answer for answer in answers if "failed" not in answer]
        if not ones:
            failed[name] = answers[0]["failed"]
        elif name != "checks":
            m = measured[name] = {key: statistics.median(one[key] for one in ones) for key in ("seconds", "mib")}
            spread = f"{min(one['seconds'] for one in ones):.3f} to {max(one['seconds'] for one in ones):.3f}"
            console.print(f"  {name:<20} {m['seconds']:8.3f} s ({spread}) {m['mib']:8.0f} MiB", markup=False)
    checks = found["checks"][0]
    result = {**asdict(case), "measured": measured, "failed": failed}
    return result | {"relative_error": checks.get("error"), "flops": checks.get("flops", 0)}

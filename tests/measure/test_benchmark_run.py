"""Who measures what, in which process; what fails, dies or comes too late leaves the rest as it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from rich.console import Console

from swinv2_dense.measure import benchmark_run
from swinv2_dense.measure.backbone_case import BackboneCase
from swinv2_dense.measure.benchmark import Case

CASES = [BackboneCase(name, dtype="bf16", side=64, window=4) for name in ("first", "second")]


def _started(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """What run_cases starts, as (what, names), in order."""
    started = []

    def process(what: str, runs: int, device: str, chosen: Sequence[Case], seconds: float) -> dict[str, Any]:
        started.append((what, [case.name for case in chosen]))
        checks = {"error": None, "flops": 100}
        return {case.name: checks if what == "checks" else answer(what) for case in chosen}

    monkeypatch.setattr(benchmark_run, "in_a_process_of_its_own", process)
    monkeypatch.setattr(benchmark_run, "matrix_rate", lambda *_: 50.0)
    return started


def _run(device: str, rounds: int) -> list[dict[str, Any]]:
    return benchmark_run.run_cases(CASES, ["timm", "huggingface", "mmaction"], rounds, 1, device, Console())


def test_on_a_cpu_every_measurement_has_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started = _started(monkeypatch, lambda what: {"failed": "no"} if what == "timm" else {"seconds": 1.0, "mib": 2.0})
    results = _run("cpu", rounds=2)
    of_first = ["ours", "checks", "timm", "huggingface", "ours", "huggingface"]  # what failed is not tried again
    assert started == [(what, [case.name]) for case in CASES for what in of_first]
    for result in results:
        assert set(result["measured"]) == {"ours", "huggingface"}
        assert result["failed"] == {"timm": "no"}
        assert result["floor"] == 2


def test_on_a_gpu_every_implementation_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    started = _started(monkeypatch, lambda what: {"seconds": 1.0, "mib": 2.0})
    results = _run("cuda", rounds=1)
    assert started == [(what, ["first", "second"]) for what in ("ours", "checks", "timm", "huggingface")]
    assert [result["name"] for result in results] == ["first", "second"]
    assert all(set(result["measured"]) == {"ours", "timm", "huggingface"} for result in results)


def test_a_case_that_fails_leaves_the_next(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    found: list[Any] = [torch.OutOfMemoryError("tried"), ValueError("why\nmore"), {"seconds": 1.0, "mib": 2.0}]

    def measure(*_: Any) -> Any:
        one = found.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    monkeypatch.setattr(benchmark_run, "measure", measure)
    benchmark_run.work("ours", 1, "cpu", [*CASES, BackboneCase("third")])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"case": "first", "failed": "out of memory"},
        {"case": "second", "failed": "ValueError: why"},
        {"case": "third", "seconds": 1.0, "mib": 2.0},
    ]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (subprocess.TimeoutExpired("bench", 1), "no time left"),
        (-9, "killed, as a rule for want of memory"),
        (1, "ImportError: no"),
    ],
)
def test_what_was_measured_before_a_process_ended_is_kept(
    end: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], stdout: Any, stderr: Any, **_: Any) -> Any:
        stdout.write('a warning\n{"case": "first", "seconds": 1.0, "mib": 2.0}\n{"case": "sec')
        stderr.write("Traceback:\nImportError: no\nand a hint\n")
        if isinstance(end, Exception):
            raise end
        return subprocess.CompletedProcess(command, end)

    monkeypatch.setattr(subprocess, "run", run)
    assert benchmark_run.in_a_process_of_its_own("timm", 1, "cpu", CASES, 1.0) == {
        "first": {"seconds": 1.0, "mib": 2.0},
        "second": {"failed": reason},
    }


def test_nothing_starts_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("started"))
    found = benchmark_run.in_a_process_of_its_own("timm", 1, "cpu", CASES, -1.0)
    assert found == {case.name: {"failed": "no time left"} for case in CASES}

"""The command: its mistakes end before anything is measured, and what it measured is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from swinv2_dense.cli import bench
from swinv2_dense.errors import UserError
from swinv2_dense.measure import benchmark_run
from swinv2_dense.measure.benchmark import Case
from swinv2_dense.measure.benchmark_cases import CARD, DEFAULT


def test_writes_numbers_and_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    def measured(what: str, runs: int, device: str, chosen: Sequence[Case], seconds: float) -> dict[str, Any]:
        checks = {"error": 1e-6, "flops": 1e9}
        return {
            c.name: checks if what == "checks" else {"seconds": 3.0 - 2 * (what == "ours"), "mib": 10.0} for c in chosen
        }

    monkeypatch.setattr(benchmark_run, "in_a_process_of_its_own", measured)
    monkeypatch.setattr(benchmark_run, "matrix_rate", lambda *_: 2e9)
    bench.main(["inference-tiny-256-w8-fp32", "--out", str(tmp_path / "new"), "--rounds", "1", "--peers", "timm"])
    result = json.loads((tmp_path / "new" / "results.json").read_text())
    (case,) = result["results"]
    assert set(case["measured"]) == {"ours", "timm"}
    assert case["measured"]["timm"]["seconds"] == 3.0
    assert case["relative_error"] == 1e-6
    assert (tmp_path / "new" / "results.png").stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "3.0x" in printed
    assert "50%" in printed  # 1e9 operations in a second, of 2e9
    assert "0.00200 TFLOP/s" in printed


def test_a_failed_peer_is_a_cell(capsys: Any) -> None:
    case = dict(name="case", dtype="bf16", batch=4, floor=0.0, matrix_rate=1e12, relative_error=None)
    measured = {"ours": {"seconds": 0.5, "mib": 7.0}}
    other = {**measured, "timm": {"seconds": 2.0, "mib": 70.0}, "ours-compiled": {"seconds": 1.0, "mib": 7.0}}
    failed = {"timm": "out of memory", "huggingface": "ValueError: no"}
    bench.show([{**case, "measured": measured, "failed": failed}, {**case, "measured": other, "failed": {}}], Console())
    printed = capsys.readouterr().out
    assert "out of memory" in printed
    assert "8.00 images/s" in printed
    assert "4.0x" in printed


@pytest.mark.parametrize(("device", "expected", "rounds"), [("cpu", DEFAULT, 2), ("cuda", CARD, 1)])
def test_the_cases_of_a_device(
    device: str, expected: tuple[str, ...], rounds: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(bench, "machine", lambda device: device)
    monkeypatch.setattr(bench, "run_cases", lambda *args: given.extend(args) or [])
    with pytest.raises(UserError, match="nothing could be measured"):
        bench.main(["--device", device, "--out", str(tmp_path), "--minutes", "5"])
    chosen, _, *others = given
    assert tuple(case.name for case in chosen) == expected
    assert others[0] == rounds
    assert others[2] == device
    assert others[-1] == 5


def test_a_folder_that_cannot_be_made_ends_it_before_the_measurements(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out .*file/x cannot be made"):
        bench.main(["inference-tiny-256-w8-fp32", "--out", str(tmp_path / "file" / "x")])


def test_an_unknown_case() -> None:
    with pytest.raises(UserError, match="there is no case 'inference-tiny-256-w8': did you mean"):
        bench.main(["inference-tiny-256-w8"])

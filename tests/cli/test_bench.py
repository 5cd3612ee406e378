"""The command: its mistakes end before anything is measured, and what it measured is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swinv2_dense.cli import bench
from swinv2_dense.errors import UserError


def _measured(*options: str) -> dict[str, float]:
    _, what, *_ = options
    return (
        {"error": 1e-6, "flops": 1e9} if what == "checks" else {"seconds": 1.0 if what == "ours" else 3.0, "mib": 10.0}
    )


def test_writes_numbers_and_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setattr(bench, "_in_a_process_of_its_own", _measured)
    bench.main(["inference-tiny-256-w8-fp32", "--out", str(tmp_path / "new"), "--rounds", "1", "--peers", "timm"])
    result = json.loads((tmp_path / "new" / "results.json").read_text())
    (case,) = result["results"]
    assert set(case["measured"]) == {"ours", "timm"}
    assert case["measured"]["timm"]["seconds"] == 3.0
    assert case["relative_error"] == 1e-6
    assert (tmp_path / "new" / "results.png").stat().st_size > 1000
    assert "3.0x" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_ends_it_before_the_measurements(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out .*file/x cannot be made"):
        bench.main(["inference-tiny-256-w8-fp32", "--out", str(tmp_path / "file" / "x")])


def test_an_unknown_case() -> None:
    with pytest.raises(UserError, match="there is no case 'inference-tiny-256-w8': did you mean"):
        bench.main(["inference-tiny-256-w8"])

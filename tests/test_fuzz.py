"""Files that are damaged at random, as no test foresees: each is read, or refused in one line, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fuzz

COUNTS = {
    "annotations": 200,
    "clip_lists": 100,
    "checkpoints": 120,
    "safetensors": 120,
    "configs": 150,
    "work_dirs": 60,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_mutants_end_in_a_result_or_one_line(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", kind, str(tmp_path), str(COUNTS[kind])]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]  # negative: a signal
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["bad"] == []
    if kind != "work_dirs":  # which are resumed from whatever else is whole
        assert found["lines"] > COUNTS[kind] // 20
    assert found["peak GiB"] < 1

"""The whole demo, as a user starts it, in its quick form: every file is there and says what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

pytest.importorskip("mmdet", reason="the detection demo needs the det extra")
REPOSITORY = Path(__file__).parents[2]


def demo(*options: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(REPOSITORY / "tools" / "demo.py"), *map(str, options)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_it_tells_its_steps_and_leaves_everything(tmp_path: Path) -> None:
    done = demo("--quick", "--work-dir", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line[:3] for line in lines if line[1:2] == "/"] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert any("pre-trained window 4x4 -> 8x8" in line for line in lines)
    assert any("box AP" in line and ">= 0.5" in line for line in lines)

    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {"classifier.pth", "data", "demo.log", "htc", "pictures"}
    assert (out / "htc" / "iter_2.pth").is_file()
    assert "Iter(train)" in (out / "demo.log").read_text()
    for name in ("position_biases.png", "predictions.png", "training.png"):
        assert str(Path("out", "pictures", name)) in done.stdout
        assert cv2.imread(str(out / "pictures" / name)).std() > 5


def test_a_foreign_data_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = demo("--quick", "--work-dir", tmp_path, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1

"""The segmentation demo, as a user starts it, in its quick form: every file is there and says what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

pytest.importorskip("mmseg", reason="the segmentation demo needs the seg extra")
REPOSITORY = Path(__file__).parents[2]


def test_it_tells_its_steps_and_leaves_everything(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(REPOSITORY / "tools" / "demo.py"), "--task", "segmentation"]
    done = subprocess.run(
        [*command, "--quick", "--work-dir", "out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line[:3] for line in lines if line[1:2] == "/"] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert any("pre-trained window 8x8 -> 16x16" in line for line in lines)
    assert any("mIoU" in line and ">= 0.75" in line for line in lines)

    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    out = tmp_path / "out" / "segmentation"
    assert {p.name for p in out.iterdir()} == {"classifier.pth", "data", "demo.log", "upernet", "pictures"}
    assert (out / "upernet" / "iter_2.pth").is_file()
    for name in ("position_biases.png", "predictions.png", "training.png"):
        assert str(Path("out", "segmentation", "pictures", name)) in done.stdout
        assert cv2.imread(str(out / "pictures" / name)).std() > 5

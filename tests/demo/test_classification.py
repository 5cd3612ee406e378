"""The classification demo, as a user starts it, in its quick form: every file is there and says what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

pytest.importorskip("mmpretrain", reason="the classification demo needs the cls extra")

from swinv2_dense.demo.close_ups import write_close_ups
from swinv2_dense.demo.landscapes import CLASSES

REPOSITORY = Path(__file__).parents[2]


def test_it_tells_its_steps_and_leaves_everything(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(REPOSITORY / "tools" / "demo.py"), "--task", "classification"]
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
    assert [line[:3] for line in lines if line[1:2] == "/"] == ["1/4", "2/4", "3/4", "4/4"]
    for window in (4, 6):
        assert any(f"top-1, window {window}" in line and ">= 0.8" in line for line in lines)

    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    out = tmp_path / "out" / "classification"
    assert {p.name for p in out.iterdir()} == {"another_window", "classifier", "data", "demo.log", "pictures"}
    assert (out / "classifier" / "iter_2.pth").is_file()
    for name in ("position_biases.png", "predictions.png", "training.png"):
        assert str(Path("out", "classification", "pictures", name)) in done.stdout
        assert cv2.imread(str(out / "pictures" / name)).std() > 5


def test_the_data_are_written_once_in_class_folders(tmp_path: Path) -> None:
    assert write_close_ups(tmp_path / "data", train=80, val=60, side=32)
    assert not write_close_ups(tmp_path / "data", train=80, val=60, side=32)
    for split, count in (("train", 80), ("val", 60)):
        images = list((tmp_path / "data" / split).rglob("*.png"))
        assert len(images) == count
        assert {p.name for p in (tmp_path / "data" / split).iterdir()} == set(CLASSES)
        assert cv2.imread(str(images[0])).shape == (32, 32, 3)

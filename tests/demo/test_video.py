"""The video demo, as a user starts it, in its quick form: every file is there and says what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from mmengine.config import Config

pytest.importorskip("av", reason="the video demo needs the video extra")

from swinv2_dense.demo.motion_clips import MOTIONS

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "configs" / "demo" / "video_swinv2_demo.py"


def test_it_tells_its_steps_and_leaves_everything(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(REPOSITORY / "tools" / "demo.py"), "--task", "video", "--quick", "--work-dir", "out"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line[:3] for line in lines if line[1:2] == "/"] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    # once, indented: what the libraries log is in the log file
    assert [line.strip() for line in lines if "publisher" in line] == ["publisher   microsoft"]
    assert any("inflated from an image model" in line for line in lines)
    assert any("top-1" in line and ">= 0.9" in line for line in lines)

    out = tmp_path / "out" / "video"
    assert {p.name for p in out.iterdir()} == {"classifier.pth", "data", "demo.log", "run", "pictures"}
    assert (out / "run" / "iter_2.pth").is_file()
    assert "Iter(train)" in (out / "demo.log").read_text()
    for name in ("predictions.png", "training.png"):
        assert str(Path("out", "video", "pictures", name)) in done.stdout
        assert cv2.imread(str(out / "pictures" / name)).std() > 5


def test_classes_of_the_config_are_those_of_the_clips() -> None:
    cfg = Config.fromfile(CONFIG)
    assert tuple(cfg.classes) == MOTIONS
    assert not any(step.type == "Flip" for step in cfg.train_pipeline)  # left would become right

"""A run's folder stands for its best checkpoint, else its latest; everything else stands for itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from swinv2_dense.errors import UserError
from swinv2_dense.inference.predictor import Predictor
from swinv2_dense.inference.run_folders import checkpoint_of, find_checkpoint, run_of
from tests.inference.conftest import Run


def test_the_best_one_else_the_latest(tmp_path: Path) -> None:
    (tmp_path / "iter_2.pth").touch()
    (tmp_path / "last_checkpoint").write_text("/elsewhere/before/it/was/moved/iter_2.pth\n")
    assert checkpoint_of(tmp_path) == str(tmp_path / "iter_2.pth")
    for time, name in ((2.0, "best_bbox_mAP_iter_9.pth"), (1.0, "best_bbox_mAP_iter_10.pth")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    assert checkpoint_of(tmp_path) == str(tmp_path / "best_bbox_mAP_iter_9.pth")


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no checkpoint: give the work dir"):
        checkpoint_of(tmp_path)
    (tmp_path / "model.safetensors").touch()
    for source in (tmp_path, tmp_path / "a.pth", "timm:swinv2_tiny_window8_256"):
        assert checkpoint_of(source) == str(source)  # a folder may be a publisher's
    with pytest.raises(UserError, match="holds no checkpoint"):
        find_checkpoint(tmp_path)
    for name in ("run.json", "last_checkpoint"):  # of a training that ended before it saved, or whose file has gone
        (tmp_path / name).write_text("gone.pth")
        with pytest.raises(UserError, match="holds no checkpoint"):
            checkpoint_of(tmp_path)


def test_the_run_of_a_checkpoint(tmp_path: Path) -> None:
    assert run_of(tmp_path / "epoch_1.pth") is None
    (tmp_path / "run.json").touch()
    assert run_of(tmp_path / "epoch_1.pth") == tmp_path


def test_a_predictor_takes_it(run_of: Callable[[str], Run], image: np.ndarray, tmp_path: Path) -> None:
    run = run_of("classification")
    shutil.copy(run.checkpoint, tmp_path / "best_accuracy_top1_epoch_1.pth")
    found, expected = Predictor(tmp_path)(image), Predictor(run.checkpoint)(image)
    assert found.to_json() == expected.to_json()

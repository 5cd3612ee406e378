"""What training and testing from a config settle before anything is built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from swinv2_dense.engine.runner import launch
from swinv2_dense.errors import UserError
from tests.engine.toy_run import config, run


def test_options_of_workers_do_not_matter_without_workers(tmp_path: Path) -> None:
    cfg = config(tmp_path / "work", validated=True)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=True, prefetch_factor=2)
    status, output = run(cfg)
    assert status == 0, output


@pytest.mark.parametrize(
    "visualizer", [None, {"type": "DetLocalVisualizer", "vis_backends": [{"type": "LocalVisBackend"}]}]
)
def test_tensorboard_for_every_task(visualizer: dict[str, object] | None) -> None:
    pytest.importorskip("tensorboard", reason="needs the tensorboard extra")
    cfg = Config({"visualizer": visualizer} if visualizer else {})
    launch.use_tensorboard(cfg)
    launch.use_tensorboard(cfg)  # once is enough
    assert [backend["type"] for backend in cfg.visualizer.vis_backends] == ["LocalVisBackend", "TensorboardVisBackend"]


def test_tensorboard_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"--tensorboard .*swinv2_dense\[tensorboard\]"):
        launch.use_tensorboard(Config({}))

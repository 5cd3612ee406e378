"""What training and testing from a config settle before anything is built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

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


class _Drawing(Hook):
    def __init__(self, draw: bool = False, show: bool = False, wait_time: float = 2, test_out_dir: object = None):
        self.folder = test_out_dir


class _Silent(Hook):
    """As those of mmpretrain and mmaction2, which take any option and draw nothing."""

    def __init__(self, enable: bool = False, **options: object) -> None:
        self.enable = enable


@pytest.fixture
def cfg(monkeypatch: pytest.MonkeyPatch) -> Config:
    for cls in (_Drawing, _Silent):
        monkeypatch.setitem(HOOKS.module_dict, cls.__name__, cls)
    return Config({"default_scope": "mmengine", "default_hooks": {"visualization": {"type": "_Drawing"}}})


def test_predictions_are_drawn_into_a_folder(cfg: Config, tmp_path: Path) -> None:
    launch.show_predictions(cfg, False, str(tmp_path / "new" / "shown"), 1.0)
    hook = cfg.default_hooks.visualization
    assert hook.draw and hook.test_out_dir == str(tmp_path / "new" / "shown")
    assert HOOKS.build(hook).folder == str(tmp_path / "new" / "shown")


def test_a_hook_that_would_draw_nothing_is_refused(cfg: Config, tmp_path: Path) -> None:
    cfg.default_hooks.visualization.type = "_Silent"
    with pytest.raises(UserError, match="of type _Silent does not take them and would draw nothing: take a hook with"):
        launch.show_predictions(cfg, False, str(tmp_path), 1.0)
    cfg.default_hooks = None
    with pytest.raises(UserError, match=r"need default_hooks\.visualization"):
        launch.show_predictions(cfg, False, str(tmp_path), 1.0)


def test_where_and_how_long_is_checked_before(cfg: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--show-dir .*file cannot be made"):
        launch.show_predictions(cfg, False, str(tmp_path / "file"), 1.0)
    with pytest.raises(UserError, match="--wait-time -1: give seconds from 0 on"):
        launch.show_predictions(cfg, True, None, -1)


def test_every_data_set_of_a_test_is_augmented() -> None:
    pipeline = [{"type": "LoadImageFromFile"}, {"type": "Resize", "scale": 8}, {"type": "PackInputs"}]
    parts = [{"type": "CustomDataset", "pipeline": pipeline} for _ in range(2)]
    cfg = Config(
        {
            "default_scope": "mmpretrain",
            "model": {"type": "ImageClassifier"},
            "test_dataloader": {"dataset": {"type": "ConcatDataset", "datasets": parts}},
        }
    )
    launch.use_tta(cfg)
    assert cfg.model.type == "AverageClsScoreTTA" and cfg.model.module.type == "ImageClassifier"
    for part in cfg.test_dataloader.dataset.datasets:
        assert part.pipeline[-1].type == "TestTimeAug"

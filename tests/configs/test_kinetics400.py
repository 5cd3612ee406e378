"""configs/kinetics400: every leaf parses, survives being dumped, builds and is fed by its pipelines; recipes hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("av", reason="needs the video extra")

from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, PARAM_SCHEDULERS, TRANSFORMS, init_default_scope
from torch import nn

from swinv2_dense.checks import config as preflight
from swinv2_dense.demo.motion_clips import write_mp4
from swinv2_dense.errors import UserError

ROOT = Path(__file__).parents[2]
LEAVES = sorted((ROOT / "configs" / "kinetics400").glob("*.py"))
# side of the crop in testing, views, window
TESTED = {
    **{f"swinv2_{size}_256": (256, 1, 16) for size in "tsbl"},
    "swinv2_g_256_stage1": (256, 1, 16),
    "swinv2_g_320_stage2": (320, 1, 20),
    "swinv2_g_384_1x1": (384, 1, 24),
    "swinv2_g_384_4x5": (384, 20, 24),
}
every_leaf = pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)


def load(path: Path) -> Config:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    return cfg


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Kinetics of one portrait clip."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        frame = rng.integers(0, 256, (96, 64, 3), dtype=np.uint8)
        write_mp4(tmp_path / f"videos_{split}" / "tai_chi" / "a.mp4", [frame] * 70)
        (tmp_path / f"kinetics400_{split}_list_videos.txt").write_text("tai_chi/a.mp4 347\n")
    monkeypatch.setenv("K400_ROOT", str(tmp_path))
    return tmp_path


def test_there_are_leaves() -> None:
    assert {path.stem for path in LEAVES} == set(TESTED)


@every_leaf
def test_header_says_source_command_and_that_the_number_is_not_ours(path: Path) -> None:
    header = path.read_text().split("_base_ =")[0]
    for part in ("# Source:", "# Command:", "# Paper:", f"configs/kinetics400/{path.name}", "Not reproduced here"):
        assert part in header
    if "_g_" not in path.stem:
        assert "Ours: the paper has G only" in header


@every_leaf
def test_parses_dumps_and_builds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # laying the config out prettily takes longer than all the rest
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **_: (text, True))
    cfg = load(path)
    assert Config.fromstring(cfg.pretty_text, ".py").to_dict() == cfg.to_dict()
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert model.backbone.num_features[-1] == model.cls_head.in_channels
    assert model.backbone.window_size == ((8, TESTED[path.stem][2], TESTED[path.stem][2]),) * 4
    assert model.backbone.patch_size == (2, 4, 4)
    assert model.cls_head.num_classes == cfg.train_dataloader.dataset.num_classes == 400


@every_leaf
def test_pipelines_give_what_the_model_takes(path: Path, root: Path) -> None:
    cfg = load(path)
    cfg.update(load_from=None, work_dir=str(root / "work"))
    preflight.check(cfg, ("train", "val", "test"))
    side, views, _ = TESTED[path.stem]
    trained = DATASETS.build(cfg.train_dataloader.dataset)[0]
    assert trained["inputs"].shape == (1, 3, 16, *[min(side, 320)] * 2)
    assert trained["inputs"].dtype == torch.uint8
    tested = DATASETS.build(cfg.test_dataloader.dataset)[0]
    assert tested["inputs"].shape == (views, 3, 16, side, side)
    assert int(tested["data_samples"].gt_label) == 347
    assert tested["data_samples"].filename == str(root / "videos_val" / "tai_chi" / "a.mp4")
    assert DATASETS.build(cfg.val_dataloader.dataset)[0]["inputs"].shape == (1, 3, 16, side, side)


def test_20_views_are_4_clips_of_5_crops_a_few_at_once() -> None:
    cfg = load(ROOT / "configs" / "kinetics400" / "swinv2_g_384_4x5.py")
    steps = {step.type: step for step in cfg.test_dataloader.dataset.pipeline}
    assert steps["SampleFrames"].num_clips == 4
    assert TRANSFORMS.build(steps["swinv2_dense.SpreadCrops"]).count == 5
    assert cfg.test_dataloader.batch_size == 1
    assert cfg.model.test_cfg.max_testing_views < 20
    assert cfg.model.cls_head.average_clips == "prob"


# lr, batch, epochs, epochs of warm-up
RECIPES = {
    **{f"swinv2_{size}_256": (3.6e-4 * 64 / 80, 64, 20, 2.5) for size in "tsbl"},
    "swinv2_g_256_stage1": (3.6e-4, 80, 20, 2.5),
    "swinv2_g_320_stage2": (5e-5, 64, 5, 1),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str) -> None:
    cfg = load(ROOT / "configs" / "kinetics400" / f"{name}.py")
    lr, batch, epochs, warmup = RECIPES[name]
    assert cfg.optim_wrapper.optimizer.type == "AdamW"
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr)
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.1
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert batch % cfg.train_dataloader.batch_size == 0
    assert cfg.train_cfg.max_epochs == epochs

    # the learning rate over the training, 10 iterations an epoch
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedules = [
        PARAM_SCHEDULERS.build(dict(schedule), default_args={"optimizer": optimizer, "epoch_length": 10})
        for schedule in cfg.param_scheduler
    ]
    rates = []
    for _ in range(10 * epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    peak = int(np.argmax(rates))
    assert abs(peak - 10 * warmup) <= 1
    assert rates[0] == pytest.approx(0.01)
    assert rates[peak] == pytest.approx(1.0)
    assert np.all(np.diff(rates[: peak + 1]) > 0)
    assert np.all(np.diff(rates[peak + 1 :]) < 0)
    assert rates[-1] < 0.02


def test_the_second_stage_goes_on_from_the_first(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = load(ROOT / "configs" / "kinetics400" / "swinv2_g_320_stage2.py")
    cfg.work_dir = str(tmp_path / "work")
    with pytest.raises(UserError, match=r"work_dirs/swinv2_g_256_stage1/epoch_20.pth does not exist.*load_from"):
        preflight.check(cfg, ("train",))


def test_a_misspelt_option_of_the_backbone_is_one_line(root: Path) -> None:
    cfg = load(LEAVES[0])
    cfg.work_dir = str(root / "work")
    cfg.model.backbone.out_indexes = 3
    with pytest.raises(UserError, match=r"model.backbone .* no option 'out_indexes': did you mean 'out_indices'"):
        preflight.check(cfg, ("train",))


def test_root_without_lists_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K400_ROOT", str(tmp_path / "nowhere"))
    cfg = load(LEAVES[0])
    cfg.work_dir = str(tmp_path / "work")
    with pytest.raises(UserError, match="nowhere/ does not exist: set K400_ROOT"):
        preflight.check(cfg, ("train",))

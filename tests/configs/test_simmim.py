"""configs/simmim: every leaf parses and builds, its recipe holds as numbers, and made small it pre-trains and draws."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("mmpretrain", reason="needs the cls extra")

from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from torch import nn

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.engine.optimizers.layer_decay import without_decay
from swinv2_dense.engine.runner import launch
from swinv2_dense.models import SwinTransformerV2
from tests.datasets.test_imagenet import write_images
from tests.tiny import clean_run  # noqa: F401

FOLDER = Path(__file__).parents[2] / "configs" / "simmim"
LEAVES = sorted(FOLDER.glob("*.py"))
every_leaf = pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)
# channels, lr, weight decay, batch, epochs, warm-up, clipping, last rate
RECIPES = {
    "b": (1024, 4e-4, 0.05, 2048, 800, 10, 5, 0.1),
    "l": (1536, 4e-4, 0.05, 2048, 800, 10, 5, 0.1),
    "h": (2816, 4e-4, 0.05, 2048, 800, 10, 5, 0.1),
    "g": (4096, 1.4e-3, 0.1, 9216, 20, 3.95, 100, 0.0),
}
SMALL = dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))


def load(path: Path) -> Config:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    return cfg


def test_there_are_leaves() -> None:
    assert [path.stem for path in LEAVES] == [f"simmim_swinv2_{size}" for size in "bghl"]


@every_leaf
def test_header_says_source_command_and_that_the_number_is_not_ours(path: Path) -> None:
    header = path.read_text().split("_base_ =")[0]
    for part in ("# Source:", "# Command:", "# Paper:", f"configs/simmim/{path.name}", "Not reproduced here"):
        assert part in header


@every_leaf
def test_recipe(path: Path) -> None:
    cfg = load(path)
    channels, lr, decay, batch, epochs, warmup, clip, last = RECIPES[path.stem[-1]]
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert model.backbone.num_features[-1] == channels == cfg.model.neck.in_channels
    assert model.backbone.window_size == ((12, 12),) * 4
    assert (model.head.patch_size, model.head.norm_target) == ((4, 4), 47)
    assert cfg.model.backbone.drop_path_rate == 0.1
    crop, mask = cfg.train_dataloader.dataset.pipeline[1], cfg.train_dataloader.dataset.pipeline[3]
    assert (crop.scale, tuple(crop.crop_ratio_range)) == (192, (0.67, 1.0))
    assert (crop.backend, crop.interpolation) == ("pillow", "bilinear")
    assert (mask.mask_patch_size, mask.model_patch_size, mask.ratio) == (32, 4, 0.6)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr) and cfg.optim_wrapper.optimizer.weight_decay == decay
    assert cfg.auto_scale_lr.base_batch_size == batch and batch % cfg.train_dataloader.batch_size == 0
    assert cfg.train_cfg.max_epochs == epochs and cfg.optim_wrapper.clip_grad.max_norm == clip
    assert without_decay("backbone.mask_token", model.backbone.mask_token)

    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedules = [
        PARAM_SCHEDULERS.build(dict(schedule), default_args={"optimizer": optimizer, "epoch_length": 20})
        for schedule in cfg.param_scheduler
    ]
    rates = []
    for i in range(20 * epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for schedule in schedules:
            if not schedule.by_epoch or i % 20 == 19:
                schedule.step()
    assert rates[0] == pytest.approx(1 / 200)
    assert max(rates) == pytest.approx(1) and abs(int(np.argmax(rates)) - 20 * warmup) <= 1
    assert rates[-1] == pytest.approx(last, abs=1e-3)
    if epochs == 800:
        assert rates[20 * 700 - 1] == pytest.approx(1) and rates[20 * 700] == pytest.approx(0.1)


@every_leaf
def test_made_small_it_pretrains_draws_and_its_weights_go_on(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean_run: None,  # noqa: F811
) -> None:
    monkeypatch.setenv("IMAGES_ROOT", str(write_images(tmp_path / "images", ["a", "a/b"], 2)))
    cfg = load(path)
    cfg.model.backbone.update(arch=SMALL, window_size=4)
    cfg.model.neck.in_channels = 64
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.pipeline[1].scale = 64
    cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler = []
    cfg.default_hooks.checkpoint.interval = 1
    cfg.default_hooks.reconstruction.interval = 1
    cfg.work_dir = str(tmp_path / "work")
    cfg.pop("strategy", None)
    launch.train(cfg)
    sheet = cv2.imread(str(tmp_path / "work" / "reconstructions" / "iter_2.png"))
    assert sheet is not None and sheet.shape == (2 * 64, 3 * 64, 3)
    grey, original = sheet[:, :64], sheet[:, 128:]
    hidden = (np.abs(grey.astype(int) - [104, 116, 124]).max(-1) <= 1).mean()
    assert 0.5 < hidden < 0.85  # 3 of 4 blocks
    shown = (grey == original).all(-1)
    assert np.array_equal(sheet[:, 64:128][shown], original[shown])

    other = SwinTransformerV2(SMALL, window_size=6)
    report = load_pretrained(other, tmp_path / "work" / "epoch_1.pth")
    assert report.pretrained_windows == ((4, 4),) * 4
    assert report.dropped["mask token"] == ["backbone.mask_token"] and "decoder" in report.dropped

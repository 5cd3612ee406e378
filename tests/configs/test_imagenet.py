"""configs/imagenet: every leaf parses and builds, its recipe holds as numbers, and made small it trains and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("mmpretrain", reason="needs the cls extra")

from mmengine.config import Config
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS, TRANSFORMS, init_default_scope
from torch import nn

from swinv2_dense.checks import config as checks
from swinv2_dense.engine.runner import launch
from swinv2_dense.errors import UserError
from tests.datasets.test_imagenet import write_images
from tests.tiny import clean_run  # noqa: F401

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "imagenet"
LEAVES = sorted(FOLDER.glob("*.py"))
# side, window, channels of the head, classes, whether tested on a central crop
BUILT = {
    "swinv2_t_w8_256": (256, 8, 768, 1000, True),
    "swinv2_t_w16_256": (256, 16, 768, 1000, True),
    "swinv2_s_w8_256": (256, 8, 768, 1000, True),
    "swinv2_s_w16_256": (256, 16, 768, 1000, True),
    "swinv2_b_w8_256": (256, 8, 1024, 1000, True),
    "swinv2_b_w16_256": (256, 16, 1024, 1000, True),
    "swinv2_b_w12_192_22k": (192, 12, 1024, 21841, True),
    "swinv2_l_w12_192_22k": (192, 12, 1536, 21841, True),
    "swinv2_b_w16_256_22kto1k": (256, 16, 1024, 1000, True),
    "swinv2_l_w16_256_22kto1k": (256, 16, 1536, 1000, True),
    "swinv2_b_w24_384_22kto1k": (384, 24, 1024, 1000, False),
    "swinv2_l_w24_384_22kto1k": (384, 24, 1536, 1000, False),
    "swinv2_b_w24_384_22kto1k_test_v2": (384, 24, 1024, 1000, False),
    "swinv2_l_w24_384_22kto1k_test_v2": (384, 24, 1536, 1000, False),
    "swinv2_b_w14_224_simmim": (224, 14, 1024, 1000, True),
    "swinv2_l_w14_224_simmim": (224, 14, 1536, 1000, True),
    "swinv2_g_w40_640": (640, 40, 4096, 1000, False),
    "swinv2_g_w40_640_test_v2": (640, 40, 4096, 1000, False),
}
# lr, batch, weight decay, epochs, warm-up, first and last rate over lr, drop path, clipping, layer decay
SCRATCH = (1e-3, 1024, 0.05, 300, 20, 1e-3, 1e-2)
FINE = (4e-5, 1024, 1e-8, 30, 5, 1e-3, 1e-2)
RECIPES: dict[str, tuple[float, ...]] = {
    **{f"swinv2_t_w{w}_256": (*SCRATCH, 0.2, 5, 1) for w in (8, 16)},
    **{f"swinv2_s_w{w}_256": (*SCRATCH, 0.3, 5, 1) for w in (8, 16)},
    **{f"swinv2_b_w{w}_256": (*SCRATCH, 0.5, 5, 1) for w in (8, 16)},
    **{f"swinv2_{s}_w12_192_22k": (1e-3, 4096, 0.1, 90, 5, 1e-3, 1e-2, 0.2, 5, 1) for s in "bl"},
    **{f"swinv2_{s}_w{w}_22kto1k": (*FINE, 0.2, 5, 1) for s in "bl" for w in ("16_256", "24_384")},
    "swinv2_b_w14_224_simmim": (5e-3, 2048, 0.05, 100, 20, 2e-4, 2e-4, 0.1, 5, 0.75),
    "swinv2_l_w14_224_simmim": (5e-3, 2048, 0.05, 100, 20, 2e-4, 2e-4, 0.2, 5, 0.75),
    "swinv2_g_w40_640": (2.1e-5, 576, 0.1, 10, 2, 1e-3, 1e-2, 0.5, 100, 1),
}
every_leaf = pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)
WNIDS = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03888257"]  # top-5 needs more than five


def load(path: Path) -> Config:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    return cfg


def small(cfg: Config, classes: int = 1000) -> Config:
    """The leaf with a model of four blocks, images of 64 pixels and windows in the same proportion."""
    cfg.model.backbone.update(
        arch=dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)), window_size=4, with_cp=False
    )
    cfg.model.head.update(in_channels=64, num_classes=classes)
    cfg.model.data_preprocessor.num_classes = classes
    for split in ("train", "val", "test"):
        loader = cfg[f"{split}_dataloader"]
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.num_classes = classes
        for step in loader.dataset.pipeline:
            if step.type in ("RandomResizedCrop", "Resize", "CenterCrop"):
                step.update({"crop_size" if step.type == "CenterCrop" else "scale": 64})
            elif step.type == "ResizeEdge":
                step.scale = 73
    cfg.load_from = None
    return cfg


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Some classes of ImageNet, under every name that a leaf asks for."""
    for split in ("train", "val"):
        write_images(tmp_path / split, WNIDS, 1)
    for name in ("IMAGENET_ROOT", "IMAGENET22K_ROOT"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def test_there_are_leaves() -> None:
    assert {path.stem for path in LEAVES} == set(BUILT)
    assert set(RECIPES) == {name for name in BUILT if "test" not in name}


@every_leaf
def test_header_says_source_command_and_that_the_number_is_not_ours(path: Path) -> None:
    header = path.read_text().split("_base_ =")[0]
    for part in ("# Source:", "# Command:", "# Paper:", "Not reproduced here"):
        assert part in header
    only_tests = path.stem.endswith("_test_v2")
    assert (f"swinv2 test imagenet/{path.stem} " if only_tests else f"configs/imagenet/{path.name} ") in header


@every_leaf
def test_builds_with_its_sizes(path: Path) -> None:
    cfg = load(path)
    side, window, channels, classes, cropped = BUILT[path.stem]
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert model.backbone.window_size == ((window, window),) * 4
    assert model.backbone.num_features[-1] == channels
    assert model.head.fc.weight.shape == (classes, channels)
    assert cfg.model.data_preprocessor.num_classes == classes
    assert all(cfg[f"{split}_dataloader"].dataset.num_classes == classes for split in ("train", "val", "test"))
    image = np.random.default_rng(0).integers(0, 256, (300, 450, 3), dtype=np.uint8)
    for split in ("train", "test"):
        steps = [TRANSFORMS.build(step) for step in cfg[f"{split}_dataloader"].dataset.pipeline]
        found: Any = dict(img=image, img_shape=(300, 450), gt_label=0)
        for step in steps[1:]:
            found = step(found)
        assert found["inputs"].shape == (3, side, side)
    test = {step.type: step for step in cfg.test_dataloader.dataset.pipeline}
    assert ("CenterCrop" in test) == cropped
    if cropped:
        assert test["ResizeEdge"].scale == int(side * 256 / 224)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str) -> None:
    lr, batch, decay, epochs, warmup, first, last, drop_path, clip, layer_decay = RECIPES[name]
    cfg = load(FOLDER / f"{name}.py")
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.betas, optimizer.eps) == ("AdamW", (0.9, 0.999), 1e-8)
    assert optimizer.lr == pytest.approx(lr) and optimizer.weight_decay == pytest.approx(decay)
    assert cfg.auto_scale_lr.base_batch_size == batch and batch % cfg.train_dataloader.batch_size == 0
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.model.backbone.drop_path_rate == drop_path
    assert cfg.optim_wrapper.clip_grad.max_norm == clip
    assert cfg.optim_wrapper.get("paramwise_cfg", {}).get("decay_rate", 1) == layer_decay

    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=lr)
    schedules = [
        PARAM_SCHEDULERS.build(dict(schedule), default_args={"optimizer": optimizer, "epoch_length": 10})
        for schedule in cfg.param_scheduler
    ]
    rates = []
    for _ in range(10 * epochs):
        rates.append(optimizer.param_groups[0]["lr"] / lr)
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    peak = int(np.argmax(rates))
    assert abs(peak - 10 * warmup) <= 1
    assert rates[0] == pytest.approx(first, rel=1e-6)
    assert rates[-1] == pytest.approx(last, abs=2e-3)
    assert np.all(np.diff(rates[: peak + 1]) > 0) and np.all(np.diff(rates[peak + 1 :]) < 0)


@pytest.mark.parametrize("name", ["swinv2_t_w8_256", "swinv2_b_w14_224_simmim"])
def test_optimizer_groups(name: str) -> None:
    cfg = load(FOLDER / f"{name}.py")
    model = MODELS.build(small(cfg).model)
    wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=cfg.optim_wrapper.constructor,
            optim_wrapper_cfg=dict(type="OptimWrapper", optimizer=cfg.optim_wrapper.optimizer),
            paramwise_cfg=cfg.optim_wrapper.get("paramwise_cfg"),
        )
    )(model)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in wrapper.optimizer.param_groups for p in g["params"]}
    lr, rate = RECIPES[name][0], RECIPES[name][-1]
    for key, parameter in model.named_parameters():
        plain = parameter.ndim <= 1 or "logit_scale" in key or "cpb_mlp" in key
        layer = 5
        if key.startswith("backbone."):
            layer = 4 if "norm3" in key else int(key.split(".")[2]) + 1 if "layers" in key else 0
        assert found[id(parameter)] == (pytest.approx(lr * rate ** (5 - layer)), 0 if plain else 0.05), key


def test_augmentation() -> None:
    for path in LEAVES:
        cfg = load(path)
        steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
        crop = TRANSFORMS.build(steps["RandomResizedCrop"])
        assert crop.crop_ratio_range == (0.08, 1.0) and crop.interpolation == "bicubic" and crop.backend == "pillow"
        assert steps["RandomFlip"].prob == 0.5
        policy = steps["RandAugment"]
        assert (policy.num_policies, policy.magnitude_level, policy.magnitude_std) == (2, 9, 0.5)
        erasing = steps["RandomErasing"]
        assert (erasing.erase_prob, erasing.mode) == (0.25, "rand")
        assert cfg.model.head.loss == dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original")
        mixing = cfg.model.train_cfg
        if "_g_" in path.stem:
            assert mixing is None
        else:
            assert mixing.augments == [dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]


def test_imagenet_v2_is_tested_by_its_numbers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    clean_run: None,  # noqa: F811
) -> None:
    v2 = write_images(tmp_path / "v2", [str(i) for i in range(12)], 1)
    monkeypatch.setenv("IMAGENETV2_ROOT", str(v2))
    cfg = load(FOLDER / "swinv2_b_w24_384_22kto1k_test_v2.py")
    cfg.work_dir = str(tmp_path / "work")
    with pytest.raises(UserError, match="v2/ holds 12 folders that are numbers, of which 12 is missing"):
        checks.check(cfg, ("test",))
    cfg = small(load(FOLDER / "swinv2_b_w24_384_22kto1k_test_v2.py"), 12)
    cfg.work_dir = str(tmp_path / "work")
    checks.check(cfg, ("test",))
    from mmengine.registry import DATASETS

    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    assert {Path(e["img_path"]).parent.name: e["gt_label"] for e in map(dataset.get_data_info, range(12))} == {
        str(i): i for i in range(12)
    }


@every_leaf
def test_made_small_it_trains_validates_and_tests(
    path: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean_run: None,  # noqa: F811
) -> None:
    monkeypatch.setenv("IMAGENETV2_ROOT", str(root / "val"))
    classes = len(WNIDS) if "22k" in path.stem.split("_") else 1000
    cfg = small(load(path), classes)
    cfg.work_dir = str(tmp_path / "work")
    cfg.pop("strategy", None)
    runner = launch.train(cfg, fast_dev_run=1)
    assert runner.iter == 1


def test_classes_of_the_head_and_of_the_folders_must_agree(root: Path) -> None:
    cfg = load(FOLDER / "swinv2_t_w8_256.py")
    cfg.work_dir = str(root / "work")
    cfg.model.head.num_classes = 10
    with pytest.raises(UserError, match=r"model.head.num_classes=10, but train_dataloader.dataset has 1000 classes"):
        checks.check(cfg, ("train",))
    cfg = small(load(FOLDER / "swinv2_t_w8_256.py"), len(WNIDS))
    cfg.work_dir = str(root / "work")
    (root / "val" / WNIDS[0]).rename(root / "val" / "n01443537")
    with pytest.raises(UserError, match=r"class folders are not those of the training data, n01440764 is in only one"):
        checks.check(cfg, ("train", "val"))

"""configs/coco, made small: every leaf trains, validates and tests; G on COCO starts from Objects365's G."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.demo.shapes import CLASSES
from swinv2_dense.engine.runner import launch

CONFIGS = Path(__file__).parents[2] / "configs" / "coco"


def load(name: str) -> Config:
    cfg = Config.fromfile(CONFIGS / name)
    init_default_scope(cfg.default_scope)
    return cfg


SMALL_ARCH = {"embed_dims": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}
SMALL = {
    "num_classes": len(CLASSES),
    "num_things_classes": len(CLASSES),
    "class_weight": [1.0] * len(CLASSES) + [0.1],
    "fc_out_channels": 16,
    "scale": (64, 64),
    "scales": [(64, 64)],
    "crop_size": (48, 48),
    "size": (64, 64),
    "num_queries": 20,
    "num_layers": 1,
    "num_points": 4,
    "nms_pre": 20,
    "max_per_img": 10,
    "max_per_image": 10,
    "num": 16,
}


def shrink(node: Any, key: str = "") -> Any:
    """A part of a config with the sizes of SMALL; of a shared key only what stands for a size."""
    if isinstance(node, dict):
        return {
            name: value if name == "num_classes" and "semantic" in key else shrink(value, name)
            for name, value in node.items()
        }
    if key in SMALL and node is not None:
        return SMALL[key]
    if isinstance(node, (list, tuple)):
        return [shrink(item) for item in node]
    return node


def small(name: str) -> Config:
    """A leaf with a small arch, on pictures of 64 pixels."""
    cfg = load(f"{name}.py")
    cfg = Config(shrink(cfg.to_dict()))
    cfg.model.backbone.update(arch=SMALL_ARCH, window_size=4, drop_path_rate=0.1)
    (cfg.model.get("neck") or cfg.model.panoptic_head).in_channels = [8, 16, 32, 64]
    for split in ("train", "val", "test"):
        dataset = cfg[f"{split}_dataloader"].dataset
        dataset.metainfo = {"classes": CLASSES}
    return cfg


LEAVES = sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.py"))


@pytest.mark.parametrize("name", LEAVES)
def test_fast_dev_run_of_every_leaf(
    name: str, coco: Path, tmp_path: Path, clean_run: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("COCO_ROOT", "OBJECTS365_ROOT"):
        monkeypatch.setenv(variable, str(coco))
    for split in ("train", "val"):  # Objects365's names of the same
        (coco / "annotations" / f"{split}.json").symlink_to(f"instances_{split}2017.json")
        (coco / split).symlink_to(f"{split}2017")
    cfg = small(name)
    cfg.update(work_dir=str(tmp_path / "work"), load_from=None, launcher="none")
    runner = launch.train(cfg, fast_dev_run=1)
    losses = runner.message_hub.get_scalar("train/loss")
    assert torch.isfinite(torch.tensor(losses.current()))
    assert runner.message_hub.get_scalar("test/coco/bbox_mAP") is not None


def test_multi_scale_variant_merges_its_eight_views(
    coco: Path, tmp_path: Path, clean_run: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCO_ROOT", str(coco))
    cfg = small("htc_swinv2_l_test_ms_w48")
    torch.save({"state_dict": MODELS.build(cfg.model).state_dict()}, tmp_path / "weights.pth")
    cfg.update(work_dir=str(tmp_path / "work"), launcher="none")
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    launch.use_tta(cfg)
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    assert [view.flip for view in sample["data_samples"]] == [False, True] * 4
    assert "coco/segm_mAP" in launch.evaluate(cfg, str(tmp_path / "weights.pth"))


def test_coco_giant_starts_from_the_objects365_giant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = small("objects365/htc_boxonly_swinv2_g").model
    for head in boxes.roi_head.bbox_head:
        head.num_classes = 7  # other classes than those of the model that starts from it
    before, model = MODELS.build(boxes), MODELS.build(small("htc_swinv2_g").model)
    torch.save({"state_dict": before.state_dict()}, tmp_path / "iter_67500.pth")
    report = load_pretrained(model, str(tmp_path / "iter_67500.pth"))
    new = ("roi_head.mask_head.", "roi_head.semantic_head.")
    given = dict(before.named_parameters())
    for name, parameter in model.named_parameters():
        if name.startswith(new) or ".fc_cls." in name:
            assert name not in report.loaded
        else:
            assert name in report.loaded
            assert torch.equal(parameter, given[name])
    # without the new branches nothing but them is missing, and where the weights are expected is where they are saved
    assert {name for name in given if ".fc_cls." not in name} <= set(report.loaded)
    chain = load("objects365/htc_boxonly_swinv2_g.py")
    last = f"work_dirs/htc_boxonly_swinv2_g/iter_{chain.train_cfg.max_iters}.pth"
    assert load("htc_swinv2_g.py").load_from == load("htc_without_semantic_swinv2_g.py").load_from == last

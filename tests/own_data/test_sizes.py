"""Sizes of every kind of config change together, in proportion; multiples of 32 stay multiples."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.sizes import config_size, scale_sizes, sensible_size
from tests.tiny import REPOSITORY


def load(name: str) -> Config:
    return Config.fromfile(REPOSITORY / "configs" / f"{name}.py")


def step(cfg: Config, split: str, name: str) -> Any:
    return next(s for s in cfg[f"{split}_dataloader"].dataset.pipeline if s["type"] == name)


def test_large_scale_jitter_and_its_canvas() -> None:
    cfg = load("coco/htc_without_semantic_swinv2_t")
    assert config_size(cfg) == 1100
    scale_sizes(cfg, 550)
    assert config_size(cfg) == 550
    assert tuple(step(cfg, "train", "RandomResize")["scale"]) == (768, 768)
    assert tuple(step(cfg, "train", "RandomResize")["ratio_range"]) == (0.1, 2.0)
    assert tuple(step(cfg, "train", "RandomCrop")["crop_size"]) == (768, 768)
    assert tuple(cfg.model.data_preprocessor.batch_augments[0]["size"]) == (768, 768)
    assert cfg.model.rpn_head.anchor_generator.scales == [8]


def test_nested_choices() -> None:
    cfg = load("coco/mask_rcnn_swinv2_t")
    scale_sizes(cfg, 400)
    short, long = step(cfg, "train", "RandomChoice")["transforms"]
    assert tuple(short[0]["scales"][-1]) == (666, 384)
    assert tuple(long[1]["crop_size"]) == (192, 300)


def test_segmentation() -> None:
    cfg = load("ade20k/upernet_swinv2_t")
    scale_sizes(cfg, 256)
    assert tuple(cfg.model.data_preprocessor.size) == (256, 256)
    assert tuple(cfg.model.test_cfg.crop_size) == (256, 256)
    assert tuple(cfg.model.test_cfg.stride) == (170, 170)
    assert tuple(step(cfg, "train", "RandomCrop")["crop_size"]) == (256, 256)
    assert tuple(cfg.tta_pipeline[1]["transforms"][0][0]["scale"]) == (512, 128)


def test_clips_keep_open_sides() -> None:
    cfg = load("kinetics400/swinv2_t_256")
    scale_sizes(cfg, 128)
    assert tuple(step(cfg, "train", "Resize")["scale"]) == (-1, 146)
    assert step(cfg, "val", "CenterCrop")["crop_size"] == 128
    assert step(cfg, "train", "SampleFrames")["clip_len"] == 16


def test_a_config_without_sizes_and_senseless_numbers() -> None:
    with pytest.raises(UserError, match="own size"):
        scale_sizes(load("demo/upernet_swinv2_demo"), 64)
    with pytest.raises(UserError, match="32 pixels or more"):
        scale_sizes(load("coco/dino_swinv2_t"), 0)


@pytest.mark.parametrize(("sides", "size"), [([480, 640, 500], 800), ([200, 200], 416), ([10], 32)])
def test_images_are_at_most_enlarged_twice(sides: list[int], size: int) -> None:
    assert sensible_size(800, sides) in (size, size - 32)

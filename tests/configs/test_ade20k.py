"""configs/ade20k: the paper's recipes to the letter, every leaf builds, every parameter learns at its layer's rate."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import nn

from swinv2_dense.models.archs import ARCHS
from swinv2_dense.registry import TRANSFORMS

mmseg_registry = pytest.importorskip("mmseg.registry", reason="segmentation needs the seg extra")

CONFIGS = Path(__file__).parents[2] / "configs" / "ade20k"
LEAVES = sorted(CONFIGS.glob("*.py"))
# The paper's table: training size, window, rate, layer decay, drop path, iterations, warm-up, batch.
ABLATION = (512, 16, 4e-5, 0.95, 0.3, 160_000, 1500, 16)
SYSTEM = (640, 40, 6e-5, 1.0, 0.3, 40_000, 375, 64)
RECIPES = {
    "upernet_swinv2_t": ("tiny", *ABLATION),
    "upernet_swinv2_s": ("small", *ABLATION),
    "upernet_swinv2_b_w16": ("base", *ABLATION),
    "upernet_swinv2_b_w40": ("base", *SYSTEM),
    "upernet_swinv2_l": ("large", *SYSTEM),
    "upernet_swinv2_g": ("giant", 640, 40, 4e-5, 1.0, 0.4, 80_000, 750, 32),
}


def load(name: str) -> Config:
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    init_default_scope(cfg.default_scope)
    import_modules_from_strings(**cfg.custom_imports)
    return cfg


def build(cfg: Config) -> nn.Module:
    with torch.device("meta"):
        return mmseg_registry.MODELS.build(cfg.model)


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)
def test_header_says_command_and_that_the_number_is_not_ours(path: Path) -> None:
    header = path.read_text().split("_base_")[0]
    for part in ("# Source", "# Paper:", "Not reproduced here"):
        assert part in header
    assert re.search(r"# Command:|Source, command", header)


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)
def test_parses_dumps_and_builds_150_classes(path: Path) -> None:
    cfg = load(path.stem)
    assert Config.fromstring(cfg.pretty_text, ".py").to_dict() == cfg.to_dict()
    model = build(cfg)
    assert type(model.backbone).__module__.startswith("swinv2_dense.")
    assert cfg.model.decode_head.in_channels == model.backbone.num_features
    assert model.num_classes == model.out_channels == 150
    if "auxiliary_head" in cfg.model:
        assert type(model.auxiliary_head).__name__ == "FCNHead"
        assert model.auxiliary_head.num_classes == 150
    for tile, stride in zip(model.test_cfg.crop_size, model.test_cfg.stride, strict=True):
        assert stride == pytest.approx(tile * 2 / 3, abs=1)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str) -> None:
    arch, side, window, lr, decay, drop_path, iterations, warmup, batch = RECIPES[name]
    cfg = load(name)
    assert (cfg.model.backbone.arch, cfg.model.backbone.window_size) == (arch, window)
    assert cfg.model.backbone.drop_path_rate == drop_path
    assert cfg.model.data_preprocessor["size"] == (side, side)
    (resize,) = (step for step in cfg.train_pipeline if step.type == "RandomResize")
    (crop,) = (step for step in cfg.train_pipeline if step.type == "RandomCrop")
    assert (resize.scale, resize.ratio_range, crop.crop_size) == ((4 * side, side), (0.5, 2.0), (side, side))
    assert {"RandomFlip", "PhotoMetricDistortion"} <= {step.type for step in cfg.train_pipeline}
    assert cfg.train_dataloader.dataset.pipeline == cfg.train_pipeline
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.pipeline == cfg.test_pipeline
        assert loader.dataset.pipeline[1].scale == (4 * side, side)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", lr, 0.05)
    assert cfg.optim_wrapper.paramwise_cfg == {"decay_rate": decay}
    assert cfg.train_cfg.max_iters == iterations
    assert [(p.begin, p.end) for p in cfg.param_scheduler] == [(0, warmup), (warmup, iterations)]
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert batch % cfg.train_dataloader.batch_size == 0


@pytest.mark.parametrize("name", ["upernet_swinv2_t", "upernet_swinv2_l", "upernet_swinv2_g"])
def test_the_rate_rises_and_falls_linearly(name: str) -> None:
    cfg = load(name)
    warmup, iterations = (cfg.param_scheduler[1][key] for key in ("begin", "end"))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedulers = [PARAM_SCHEDULERS.build({**scheduler, "optimizer": optimizer}) for scheduler in cfg.param_scheduler]
    rates = []
    for _ in range(2 * warmup):
        rates.append(optimizer.param_groups[0]["lr"])
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(1e-6)
    assert rates[warmup // 2] == pytest.approx(0.5, abs=2 / warmup)
    assert rates[warmup] == pytest.approx(1.0, abs=2 / warmup)
    assert rates[-1] == pytest.approx(1 - (warmup - 1) / (iterations - warmup), rel=1e-6)


def layer(name: str, depths: tuple[int, ...]) -> int:
    """0 for the patch embedding, 1 to N for the blocks, N + 1 for the decoder, by the name of a parameter."""
    if not name.startswith("backbone."):
        return sum(depths) + 1
    if name.startswith("backbone.patch_embed."):
        return 0
    if found := re.match(r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.", name):
        stage, block = int(found[1]), int(found[2])
        return sum(depths[:stage]) + block + 1
    stage = int(re.match(r"backbone\.(?:layers\.(\d+)\.downsample|norm(\d+))\.", name).expand(r"\1\2"))
    return sum(depths[: stage + 1])


@pytest.mark.parametrize("arch", ARCHS)
def test_layer_decay_over_patch_embedding_every_block_and_the_decoder(arch: str) -> None:
    cfg = load("upernet_swinv2_t")
    channels = [ARCHS[arch].embed_dims * 2**stage for stage in range(4)]
    cfg.merge_from_dict(
        {
            "model.backbone.arch": arch,
            "model.decode_head.in_channels": channels,
            "model.auxiliary_head.in_channels": channels[2],
        }
    )
    model = build(cfg)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    found: dict[int, list[Any]] = {}
    for group in groups:
        for parameter in group["params"]:
            found.setdefault(id(parameter), []).append(group)
    depths = ARCHS[arch].depths
    seen = set()
    for name, parameter in model.named_parameters():
        (group,) = found.pop(id(parameter))
        depth = layer(name, depths)
        seen.add(depth)
        assert group["lr"] == pytest.approx(4e-5 * 0.95 ** (sum(depths) + 1 - depth)), name
        plain = parameter.ndim <= 1 or "logit_scale" in name or "cpb_mlp" in name
        assert group["weight_decay"] == (0.0 if plain else 0.05), name
    assert not found
    assert seen == set(range(sum(depths) + 2))
    assert len(groups) == 2 * (sum(depths) + 2)


@pytest.mark.parametrize("root", ["/data/ade", "/data/ade/"])
def test_root_comes_from_the_environment(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADE20K_ROOT", root)
    cfg = load("upernet_swinv2_t")
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root == "/data/ade/"


def test_zero_is_ignored_and_150_is_the_last_class(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    cfg = load("upernet_swinv2_t")
    dataset = mmseg_registry.DATASETS.build({**cfg.train_dataloader.dataset, "lazy_init": True})
    assert len(dataset.metainfo["classes"]) == 150
    assert dataset.reduce_zero_label
    cv2.imwrite(str(tmp_path / "map.png"), np.array([[0, 1, 150]], np.uint8))
    given = {"seg_map_path": str(tmp_path / "map.png"), "seg_fields": [], "ori_shape": (1, 3)}
    given |= {"reduce_zero_label": dataset.reduce_zero_label, "label_map": dataset.label_map}
    assert TRANSFORMS.build(cfg.load_map)(given)["gt_seg_map"].tolist() == [[255, 0, 149]]


def test_896_pixels_with_window_56_is_a_matter_of_testing_only() -> None:
    test, train = load("upernet_swinv2_g_test_896_w56"), load("upernet_swinv2_g")
    assert test.model.backbone.window_size == 56
    assert test.test_dataloader.dataset.pipeline[1].scale == (3584, 896)
    scales = [step.scale for step in test.tta_pipeline[1].transforms[0]]
    assert scales[2] == (3584, 896)
    assert {name: p.shape for name, p in build(test).named_parameters()} == {
        name: p.shape for name, p in build(train).named_parameters()
    }

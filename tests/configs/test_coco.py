"""configs/coco: every leaf parses, survives being dumped and builds; recipes to the letter, every parameter learns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from torch import nn

from swinv2_dense.models.archs import ARCHS
from swinv2_dense.planning import GIB, Way, input_size, make_plan

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "coco"
LEAVES = sorted(CONFIGS.rglob("*.py"))
every_leaf = pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)


def load(path: Path | str) -> Config:
    cfg = Config.fromfile(CONFIGS / path)
    init_default_scope(cfg.default_scope)
    return cfg


def build(path: Path | str) -> nn.Module:
    return _build(CONFIGS / path)


@cache
def _build(path: Path) -> nn.Module:
    with torch.device("meta"):
        return MODELS.build(load(path).model)


def test_there_are_leaves() -> None:
    htc = {f"htc{branch}_swinv2_{arch}" for branch in ("", "_without_semantic") for arch in "tsblg"}
    tested = {f"htc_swinv2_{arch}_test{scales}_w48" for arch in "lg" for scales in ("", "_ms")}
    others = {f"{name}_swinv2_{arch}" for name in ("mask_rcnn", "dino", "mask2former") for arch in "tbl"}
    ablation = {f"cascade_mask_rcnn_swinv2_{arch}" for arch in "tsb"}
    first = {f"{name}_rcnn_swinv2_t{size}" for name in ("faster", "cascade") for size in ("", "_640")}
    assert {path.stem for path in LEAVES} == htc | tested | others | ablation | first | {"htc_boxonly_swinv2_g"}


@every_leaf
def test_header_says_source_command_and_that_the_number_is_not_ours(path: Path) -> None:
    header = path.read_text().split("_base_ =")[0]
    for part in ("# Source:", "# Command:", "# Paper:", str(path.relative_to(ROOT))):
        assert part in header
    assert "Not reproduced here" in re.sub(r"\n# +", " ", header)
    if "AP" in header.split("# Paper:")[1] and "none for T" not in header:
        assert "reported in the paper" in header


@every_leaf
def test_parses_dumps_and_builds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # laying the config out prettily takes longer than all the rest
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **_: (text, True))
    cfg, model = load(path), build(path)
    assert Config.fromstring(cfg.pretty_text, ".py").to_dict() == cfg.to_dict()
    assert type(model.backbone).__module__.startswith("swinv2_dense.")
    channels = (cfg.model.get("neck") or cfg.model.get("panoptic_head")).in_channels
    assert channels == model.backbone.num_features
    arch = path.stem.split("swinv2_")[1][0]
    assert model.backbone.embed_dims == ARCHS[arch_name(arch)].embed_dims
    assert model.backbone.depths == ARCHS[arch_name(arch)].depths
    padding = cfg.model.data_preprocessor.get("batch_augments") or []
    assert [step["size"] for step in padding] == ([cfg.image_size] if cfg.get("image_size") else [])
    semantic = "semantic_head" in cfg.model.get("roi_head", {})
    assert semantic == bool(re.match(r"htc_swinv2", path.stem))
    assert ("seg" in cfg.train_dataloader.dataset.data_prefix) == semantic
    for step in (cfg.model.data_preprocessor, *padding):
        assert bool(step.get("pad_seg")) == semantic


def arch_name(letter: str) -> str:
    return next(name for name in ARCHS if name[0] == letter)


@pytest.mark.parametrize("name", ["htc_swinv2_g", "htc_without_semantic_swinv2_g", "objects365/htc_boxonly_swinv2_g"])
def test_giant_has_three_billion_parameters_and_recomputes(name: str) -> None:
    model = build(f"{name}.py")
    assert sum(p.numel() for p in model.backbone.parameters()) == pytest.approx(3.0e9, rel=0.01)
    assert load(f"{name}.py").model.backbone.with_cp


@every_leaf
def test_optimizer_covers_every_parameter_once_at_its_rate(path: Path) -> None:
    cfg, model = load(path), build(path)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    base = cfg.optim_wrapper.optimizer
    factor = cfg.optim_wrapper.paramwise_cfg.backbone_lr_mult
    groups: dict[int, list[dict[str, Any]]] = {}
    for group in wrapper.optimizer.param_groups:
        for parameter in group["params"]:
            groups.setdefault(id(parameter), []).append(group)
    for name, parameter in model.named_parameters():
        (group,) = groups.pop(id(parameter))
        assert group["lr"] == pytest.approx(base.lr * (factor if name.startswith("backbone.") else 1.0)), name
        plain = parameter.ndim <= 1 or "logit_scale" in name or "cpb_mlp" in name
        assert group["weight_decay"] == (0.0 if plain else base.weight_decay), name
    assert not groups


# The paper's rows, and the published recipes: lr, weight decay, factor of the backbone, batch, drops, end, warm-up.
HTC = (4e-4, 0.05, 0.1, 64, [27, 33], 36, 1000)
GIANT = (6e-4, 0.05, 0.1, 96, [33750, 41250], 45_000, 1000)
RECIPES = {
    "htc_boxonly_swinv2_g": (1.2e-3, 0.05, 0.1, 96, [50625, 61875], 67_500, 1000),
    "htc_swinv2_g": GIANT,
    "htc_without_semantic_swinv2_g": GIANT,
    "htc_swinv2": HTC,
    "htc_without_semantic_swinv2": HTC,
    "cascade_mask_rcnn": (1e-4, 0.05, 1.0, 16, [27, 33], 36, 1000),
    "cascade_rcnn": (1e-4, 0.05, 1.0, 16, [27, 33], 36, 1000),
    "faster_rcnn": (1e-4, 0.05, 1.0, 16, [27, 33], 36, 1000),
    "mask_rcnn": (1e-4, 0.05, 1.0, 16, [27, 33], 36, 1000),
    "dino": (1e-4, 1e-4, 0.1, 16, [27, 33], 36, None),
    "mask2former": (1e-4, 0.05, 0.1, 16, [327778, 355092], 368_750, None),
}


@every_leaf
def test_recipe(path: Path) -> None:
    cfg = load(path)
    recipe = next(recipe for name, recipe in RECIPES.items() if path.stem.startswith(name))
    lr, decay, factor, batch, drops, end, warmup = recipe
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", lr, decay)
    assert cfg.optim_wrapper.paramwise_cfg == {"decay_rate": 1.0, "backbone_lr_mult": factor}
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert batch % cfg.train_dataloader.batch_size == 0
    *before, steps = cfg.param_scheduler
    assert [(step.begin, step.end) for step in before] == ([(0, warmup)] if warmup else [])
    assert (steps.milestones, steps.begin, steps.end) == (drops, 0, end)
    by_epoch = cfg.train_cfg.type == "EpochBasedTrainLoop"
    assert cfg.train_cfg["max_epochs" if by_epoch else "max_iters"] == end
    assert steps.by_epoch == by_epoch
    assert cfg.train_dataloader.sampler.type == ("DefaultSampler" if by_epoch else "InfiniteSampler")
    assert cfg.log_processor.by_epoch == by_epoch
    checkpoint = cfg.default_hooks.checkpoint
    assert checkpoint.get("by_epoch", True) == by_epoch
    assert end % checkpoint.interval == 0  # the last weights are saved
    assert end % cfg.train_cfg.val_interval == 0  # and validated


@pytest.mark.parametrize(
    ("name", "epochs"), [("htc_swinv2_l", 36), ("htc_swinv2_g", 36.8), ("mask2former_swinv2_t", 50.3)]
)
def test_length_in_epochs_of_117266_pictures(name: str, epochs: float) -> None:
    cfg = load(f"{name}.py")
    if "max_epochs" in cfg.train_cfg:
        assert cfg.train_cfg.max_epochs == epochs
    else:
        seen = cfg.train_cfg.max_iters * cfg.auto_scale_lr.base_batch_size
        assert seen / 117_266 == pytest.approx(epochs, abs=0.05)


@pytest.mark.parametrize(("name", "epoch_length"), [("htc_swinv2_l", 1832), ("htc_swinv2_g", None)])
def test_rate_over_the_whole_training(name: str, epoch_length: int | None) -> None:
    cfg = load(f"{name}.py")
    iterations = cfg.train_cfg.get("max_iters") or cfg.train_cfg.max_epochs * (epoch_length or 0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    warmup, steps = (PARAM_SCHEDULERS.build({**step, "optimizer": optimizer}) for step in cfg.param_scheduler)
    rates = []
    for iteration in range(1, iterations + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        warmup.step()
        if epoch_length is None or iteration % epoch_length == 0:
            steps.step()
    assert rates[0] == pytest.approx(0.001)
    assert rates[1000] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.01)
    drops = [index / iterations for index in range(1, iterations) if rates[index] < 0.5 * rates[index - 1]]
    assert drops == pytest.approx([9 / 12, 11 / 12], abs=1e-4)


def types(pipeline: Sequence[Any]) -> list[str]:
    return [step.type for step in pipeline]


@pytest.mark.parametrize("arch", "tsblg")
@pytest.mark.parametrize("branch", ["", "_without_semantic"])
def test_augmentation_and_sizes_of_the_system_recipe(arch: str, branch: str) -> None:
    cfg = load(f"htc{branch}_swinv2_{arch}.py")
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert ("swinv2_dense.InstaBoost" in types(pipeline)) == (arch != "g")  # G's row has none
    if arch != "g":
        assert (
            types(pipeline).index("swinv2_dense.InstaBoost") == types(pipeline).index("swinv2_dense.LoadInstances") + 1
        )
    (jitter,) = (step for step in pipeline if step.type == "RandomResize")
    assert (jitter.scale, jitter.ratio_range) == ((1536, 1536), (0.1, 2.0))
    assert cfg.model.backbone.window_size == 32
    assert min(cfg.test_dataloader.dataset.pipeline[1].scale) == 1100
    assert cfg.model.test_cfg.rcnn.nms.type == "soft_nms"
    for head in build(f"htc{branch}_swinv2_{arch}.py").roi_head.mask_head:
        assert head.in_channels == head.conv_out_channels  # a stage's features are added to the next one's


def test_ablation_and_objects365_sizes() -> None:
    cfg = load("cascade_mask_rcnn_swinv2_t.py")
    assert cfg.model.backbone.window_size == 16
    (resize,) = (step for step in cfg.train_pipeline if step.type == "RandomChoiceResize")
    assert (resize.scales[0], resize.scales[-1]) == ((1333, 480), (1333, 800))
    cfg = load("objects365/htc_boxonly_swinv2_g.py")
    (resize,) = (step for step in cfg.train_pipeline if step.type == "RandomChoiceResize")
    assert (min(resize.scales[0]), min(resize.scales[-1])) == (800, 1024)
    assert cfg.model.backbone.window_size == 32
    assert [head.num_classes for head in build("objects365/htc_boxonly_swinv2_g.py").roi_head.bbox_head] == [365] * 3


@pytest.mark.parametrize("arch", "lg")
def test_test_variants_take_the_trained_weights_at_window_48(arch: str) -> None:
    trained = {name: p.shape for name, p in build(f"htc_swinv2_{arch}.py").named_parameters()}
    for variant in ("test_w48", "test_ms_w48"):
        path = f"htc_swinv2_{arch}_{variant}.py"
        assert {name: p.shape for name, p in build(path).named_parameters()} == trained
        assert build(path).backbone.window_size == ((48, 48),) * 4
    cfg = load(f"htc_swinv2_{arch}_test_ms_w48.py")
    scales, flips, *_ = cfg.tta_pipeline[1].transforms
    assert cfg.test_scale in [step.scale for step in scales]
    assert [step.prob for step in flips] == [0.0, 1.0]


def test_box_cascade_refines_without_a_mask_branch() -> None:
    head = build("objects365/htc_boxonly_swinv2_g.py").roi_head
    assert not head.with_mask
    assert not head.interleaved  # mmdet refines the boxes of an interleaved cascade in its mask branch only


@pytest.mark.parametrize("name", ["faster_rcnn_swinv2_t", "cascade_rcnn_swinv2_t"])
def test_first_detectors_are_those_with_masks_less_the_masks(name: str) -> None:
    of_masks = {"faster_rcnn_swinv2_t": "mask_rcnn_swinv2_t", "cascade_rcnn_swinv2_t": "cascade_mask_rcnn_swinv2_t"}
    with_masks = {key: p.shape for key, p in build(f"{of_masks[name]}.py").named_parameters()}
    boxes = {key: p.shape for key, p in build(f"{name}.py").named_parameters()}
    assert boxes == {key: shape for key, shape in with_masks.items() if "mask_head" not in key}
    assert load(f"{name}.py").val_evaluator.metric == "bbox"
    assert not any(step.get("with_mask") for step in load(f"{name}.py").train_pipeline)
    large, small = (load(f"{name}{size}.py") for size in ("", "_640"))
    assert (large.test_scale, small.test_scale) == ((1333, 800), (1067, 640))
    assert small.train_dataloader.dataset.pipeline[2].scales[-1] == (1067, 640)
    assert small.val_dataloader.dataset.pipeline[1].scale == (1067, 640)


@pytest.mark.parametrize(
    ("name", "precision"), [("cascade_rcnn_swinv2_t", "amp"), ("cascade_rcnn_swinv2_t_640", "fp32")]
)
@pytest.mark.slow
def test_first_detectors_train_on_a_card_of_8_gib(name: str, precision: str) -> None:
    cfg = load(f"{name}.py")
    batch = cfg.train_dataloader.batch_size
    plan = make_plan(cfg, input_size(cfg), batch, precisions=(precision,), checkpointing=(False,))
    assert plan.need(Way("ddp", precision, False), 1).total < 6 * GIB  # 2 are kept free

"""What a step is said to hold against what one real step of the same model makes resident."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

pytest.importorskip("mmdet", reason="detectors need the det extra")

from swinv2_dense.demo.shapes_coco import write_shapes_coco
from swinv2_dense.measure.complexity import complexity
from swinv2_dense.models import SwinTransformerV2
from swinv2_dense.planning import step
from swinv2_dense.planning import training_forward as forward
from swinv2_dense.planning.step import build, measure

ROOT = Path(__file__).parents[2]
SIDE = 256
# The demo's HTC with the backbone of SwinV2-T.
CONFIG = f"""
_base_ = {str(ROOT / "configs" / "demo" / "htc_swinv2_demo.py")!r}
model = dict(
    backbone=dict(_delete_=True, type="swinv2_dense.SwinTransformerV2", arch="tiny", window_size=16),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
train_pipeline = [
    dict(step, scale=({SIDE}, {SIDE})) if step["type"] == "Resize" else step for step in _base_.train_pipeline
]
train_dataloader = dict(
    batch_size=1, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline)
)
"""


def planned(cfg: Config, monkeypatch: pytest.MonkeyPatch, *, with_cp: bool, alone: bool) -> int:
    """Bytes of gradients and activations together, of the backbone alone or the whole detector."""
    with monkeypatch.context() as patch:
        if alone:
            patch.setattr(step, "training_outputs", lambda model, batch: lambda x: list(model.backbone(x)))
        model = build(cfg, with_cp=with_cp)
        if alone:
            model = nn.ModuleDict({"backbone": model.backbone})
        peak = measure(model, (SIDE, SIDE), batch=1, precision="fp32", device="cpu").peak()
    return peak.activations + peak.gradients


def test_within_15_percent_of_a_real_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shapes_coco(tmp_path / "coco", train=2, val=1, side=SIDE)
    monkeypatch.setenv("SHAPES_ROOT", str(tmp_path / "coco"))
    # An allocator that gives memory back at once: what is resident is then what is in use.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "0")
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("real_step.py")), str(path), str(SIDE)],
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    real = json.loads(done.stdout.splitlines()[-1])
    cfg = Config.fromfile(path)
    found = [planned(cfg, monkeypatch, with_cp=cp, alone=alone) for alone in (True, False) for cp in (False, True)]
    assert found == pytest.approx(real, rel=0.15)
    assert found[1] < found[0] and found[3] < found[2]


def test_operations_are_three_forward_passes_of_the_model() -> None:
    """Forwards one product; backwards two, one for either factor. Attention computes its logits again: 5 for 2."""
    # logits and values: in each stage so many tokens see so many others, in so many channels
    attention = sum(
        2 * 2 * depth * (64 // 2**stage) ** 2 * 8**2 * 96 * 2**stage for stage, depth in enumerate((2, 2, 6, 2))
    )
    forwards = complexity(lambda: SwinTransformerV2(window_size=8, out_indices=(3,)), 1, 3, 256, 256).flops
    with torch.device("meta"):
        wrapped = nn.ModuleDict({"backbone": SwinTransformerV2(window_size=8, out_indices=(3,)).train()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "training_outputs", lambda model, batch: lambda x: list(model["backbone"](x)))
        found = measure(wrapped, (256, 256), batch=1, precision="fp32", device="cuda").flops
    # the image itself needs no gradient
    embedding = 2 * 64**2 * 96 * 3 * 16
    assert found == pytest.approx(3 * forwards - embedding + attention / 2, rel=0.02)


@pytest.mark.parametrize("channels", [1, 6])
def test_images_have_the_models_channels(channels: int) -> None:
    cfg = Config.fromfile(ROOT / "configs" / "coco" / "faster_rcnn_swinv2_t.py")
    cfg.model.backbone.in_channels = channels
    assert measure(build(cfg), (64, 64), batch=1, precision="fp32", device="cuda").flops > 0


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ("coco/htc_swinv2_t", (1536, 1536)),
        ("coco/cascade_mask_rcnn_swinv2_t", (800, 1344)),
        ("coco/objects365/htc_boxonly_swinv2_g", (1024, 1728)),
        ("ade20k/upernet_swinv2_g", (640, 640)),
        ("kinetics400/swinv2_g_320_stage2", (16, 320, 320)),
    ],
)
def test_size_of_training(config: str, size: tuple[int, ...]) -> None:
    assert forward.input_size(Config.fromfile(ROOT / "configs" / f"{config}.py")) == size


@pytest.mark.parametrize("config", ["mask2former_swinv2_t", "dino_swinv2_t"])
def test_transformer_decoders_run_too(config: str) -> None:
    """Forwards and backwards: every weight of backbone, neck, encoder and decoder gets a gradient."""
    cfg = Config.fromfile(ROOT / "configs" / "coco" / f"{config}.py")
    model = build(cfg)
    found = measure(model, (256, 256), batch=1, precision="amp", device="cuda")
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    # DINO's choice of proposals, and its denoising
    choice = {"memory_trans_fc", "memory_trans_norm", "bbox_head", "dn_query_generator"}
    assert {name.split(".")[0] for name in without} <= choice
    assert found.peak().activations > 0
    assert all(p.is_meta for p in model.parameters())

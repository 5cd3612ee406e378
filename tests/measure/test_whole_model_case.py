"""Whole models at a small size: both implementations run a step, and find the same with the same weights."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("mmdet", reason="needs the det extra")
pytest.importorskip("mmseg", reason="needs the seg extra")

from swinv2_dense.cpu import roi_align
from swinv2_dense.measure.benchmark import measure
from swinv2_dense.measure.whole_model_case import WholeModelCase

SMALL = dict(height=160, width=192, window=4)
CASES = {
    "detector": WholeModelCase("detector", config="coco/mask_rcnn_swinv2_t", **SMALL),
    "segmentor": WholeModelCase("segmentor", config="ade20k/upernet_swinv2_t", **SMALL),
}


@pytest.mark.parametrize("case", CASES.values(), ids=str)
def test_both_find_the_same(case: WholeModelCase) -> None:
    error = case.error()
    assert error is not None
    assert error < 1e-4


@pytest.mark.parametrize("implementation", ["ours", "mmpretrain"])
def test_a_training_step(implementation: str) -> None:
    takes = roi_align.kernel_takes
    case = WholeModelCase("training", train=True, config="coco/faster_rcnn_swinv2_t_640", **SMALL)
    assert measure(implementation, case, runs=1, device="cpu")["seconds"] > 0
    assert roi_align.kernel_takes is takes


def test_a_training_image_has_the_cases_size_and_the_backbone_its_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever size the config pads to."""
    seen = []
    config = "coco/htc_without_semantic_swinv2_t"
    case = WholeModelCase("training", True, "bf16", config=config, height=64, width=96, window=4)
    model, step = case.build("ours")
    model.backbone.patch_embed.register_forward_hook(lambda _, x, out: seen.append((x[0].shape, out.dtype)))
    step()
    assert seen == [((1, 3, 64, 96), torch.bfloat16)]
    assert any(p.grad is not None for p in model.backbone.parameters())


def test_operations_are_counted() -> None:
    """Of a segmentor on 4 images of the size, 4 times as many."""
    small = CASES["segmentor"]
    large = WholeModelCase("large", config=small.config, height=320, width=384, window=4)
    assert large.flops() == pytest.approx(4 * small.flops(), rel=0.1)

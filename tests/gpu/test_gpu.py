"""What only a GPU can show: ``pytest -m gpu``, minutes on one card; ``GPU_TESTS_ON=cpu`` runs it, in small, without."""

from __future__ import annotations

import copy
import gc
import math
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.layers import cosine_attention_plain, window_attention
from swinv2_dense.measure.whole_model_case import WholeModelCase
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2
from tests.models.oracles import randomize, relative_error

DEVICE = os.environ.get("GPU_TESTS_ON", "cuda")
REAL = DEVICE == "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(REAL and not torch.cuda.is_available(), reason="needs a GPU"),
]
# Without a GPU the same code, of two stages on 64 pixels.
SMALL: dict[str, Any] = dict(embed_dims=32, depths=(2, 2), num_heads=(1, 2))
ARCHS: dict[str, Any] = {name: name if REAL else SMALL for name in ("tiny", "large")}
SIDE, WINDOW = (1024, 32) if REAL else (64, 8)
# Relative rms of features and of all gradients together, against float32.
TOLERANCE = {
    torch.float32: (1e-4, 1e-3),
    torch.float16: (5e-3, 3e-2),
    torch.bfloat16: (3e-2, 1e-1),
}


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Full float32, and the card's memory for one test at a time."""
    torch.manual_seed(0)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    gc.collect()
    if REAL:
        torch.cuda.empty_cache()


def backbone(arch: Any, **options: Any) -> SwinTransformerV2:
    out = dict(out_indices=tuple(range(4 if isinstance(arch, str) else len(arch["depths"]))))
    model = SwinTransformerV2(arch, window_size=WINDOW, drop_path_rate=0.0, **out, **options)
    return randomize(model).to(DEVICE)  # type: ignore[return-value]


def step(model: nn.Module, x: Tensor, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor]:
    """The maps, and all gradients as one vector, in float32."""
    model.zero_grad()
    with torch.autocast(DEVICE, dtype) if dtype != torch.float32 else nullcontext():
        maps = [m.float() for m in model(x)]
    torch.stack([m.square().mean() for m in maps]).sum().backward()
    return [m.detach() for m in maps], torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def far(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def peak(run: Any) -> int:
    """Bytes that a step takes at most beyond what is there."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() - before


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("arch", ARCHS)
def test_features_and_gradients_are_the_formulas(
    arch: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = SIDE // 2  # the formula holds every logit
    model, x = backbone(ARCHS[arch]), torch.randn(1, 3, side, side, device=DEVICE)
    found = step(model, x, dtype)
    monkeypatch.setattr(window_attention, "cosine_attention", cosine_attention_plain)
    expected = step(model, x)
    of_maps, of_gradients = TOLERANCE[dtype]
    assert relative_error(tuple(found[0]), expected[0]) < of_maps
    assert far(found[1], expected[1]) < of_gradients


@torch.no_grad()
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_features_are_timms(dtype: torch.dtype) -> None:
    from timm.models.swin_transformer_v2 import SwinTransformerV2 as Timm

    side, window = (512, 32) if REAL else (256, 8)
    theirs: Any = Timm(img_size=side, window_size=window, num_classes=0)
    randomize(theirs).eval().to(DEVICE)
    theirs.norm.reset_parameters()  # the classifier's, which the maps go without
    ours = SwinTransformerV2("tiny", window_size=window).eval()
    stages = [min(window, side // (4 * 2**stage)) for stage in range(4)]
    load_pretrained(ours, {name: t.cpu() for name, t in theirs.state_dict().items()}, stages)
    x = torch.randn(1, 3, side, side, device=DEVICE)
    expected = theirs.forward_intermediates(x, intermediates_only=True)
    with torch.autocast(DEVICE, dtype) if dtype != torch.float32 else nullcontext():
        maps = [m.float() for m in ours.to(DEVICE)(x)]
    norms = [nn.functional.layer_norm(m.movedim(1, -1), m.shape[1:2]).movedim(-1, 1) for m in expected]
    assert relative_error(tuple(maps), norms) < TOLERANCE[dtype][0]


@pytest.mark.parametrize("change", ["with_cp", "compiled"])
def test_other_ways_give_the_same(change: str) -> None:
    side = SIDE // 2
    model, x = backbone(ARCHS["tiny"]), torch.randn(1, 3, side, side, device=DEVICE)
    expected = step(model, x)
    if change == "with_cp":
        other = backbone(ARCHS["tiny"], with_cp=True)
        other.load_state_dict(model.state_dict())
        found = step(other, x)
    else:
        found = step(torch.compile(copy.deepcopy(model)), x)  # type: ignore[arg-type]
    assert relative_error(tuple(found[0]), expected[0]) < 1e-4
    assert far(found[1], expected[1]) < 1e-3


def test_clips_give_the_formulas_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    side, window = (224, (8, 7, 7)) if REAL else (32, (2, 4, 4))
    options: dict[str, Any] = {} if REAL else dict(out_indices=1)
    model = VideoSwinTransformerV2(ARCHS["tiny"], window_size=window, drop_path_rate=0.0, **options)
    randomize(model).to(DEVICE)
    clip = torch.randn(1, 3, 16 if REAL else 4, side, side, device=DEVICE)
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda x: out if isinstance(out := forward(x), tuple) else (out,))
    found = step(model, clip)
    monkeypatch.setattr(window_attention, "cosine_attention", cosine_attention_plain)
    expected = step(model, clip)
    assert relative_error(tuple(found[0]), expected[0]) < 1e-4
    assert far(found[1], expected[1]) < 1e-3


@pytest.mark.parametrize(
    "config", ["htc_without_semantic_swinv2_t", "mask_rcnn_swinv2_t", "dino_swinv2_t", "mask2former_swinv2_t"]
)
def test_a_detector_trains(config: str) -> None:
    """Two steps in mixed precision, by torchvision's operators: losses and every gradient are numbers."""
    pytest.importorskip("mmdet.models", reason="needs mmdet")
    side = 1024 if REAL else 128
    case = WholeModelCase(config, train=True, config=f"coco/{config}", height=side, width=side, window=0 if REAL else 4)
    model, run = case.build("ours", DEVICE)
    model.train()
    for _ in range(2 if REAL else 1):
        with torch.autocast(DEVICE, torch.bfloat16, enabled=REAL):
            run()
    given = [p.grad for p in model.parameters() if p.grad is not None]
    assert given and all(torch.isfinite(g).all() for g in given)


def test_a_segmenter_predicts_what_it_does_on_a_cpu() -> None:
    pytest.importorskip("mmseg.models", reason="needs mmseg")
    side, window = (640, 40) if REAL else (128, 8)
    case = WholeModelCase("upernet", config="ade20k/upernet_swinv2_t", height=side, width=side, window=window)
    model: Any = case.model("ours", "cpu")
    (expected,) = model.test_step(copy.deepcopy(case._data(model, "cpu")))
    model.to(DEVICE)
    (found,) = model.test_step(case._data(model, DEVICE))
    assert (found.pred_sem_seg.data.cpu() != expected.pred_sem_seg.data).float().mean() < 1e-3


def test_the_demo_trains_evaluates_and_draws(tmp_path: Path) -> None:
    from swinv2_dense.cli import main

    if not REAL:
        pytest.skip("tests/demo does this without a GPU")
    assert main(["demo", "--quick", "--work-dir", str(tmp_path / "demo")]) == 0


@pytest.mark.parametrize("precision", ["fp32", "amp"])
@pytest.mark.parametrize(("arch", "side"), [("tiny", 1024), ("tiny", 1536), ("large", 1024)])
def test_the_plan_is_within_15_percent(arch: str, side: int, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from swinv2_dense.planning import step as planning

    if not REAL:
        pytest.skip("tests/planning/test_step.py does this without a GPU")
    monkeypatch.setattr(planning, "training_outputs", lambda model, batch: lambda x: list(model["backbone"](x)))
    with torch.device("meta"):
        meta = SwinTransformerV2(arch, window_size=32, drop_path_rate=0.0, with_cp=True)
    wrapped = nn.ModuleDict({"backbone": meta.train()})
    planned = planning.measure(wrapped, (side, side), batch=1, precision=precision, device="cuda").peak()
    model, x = backbone(arch, with_cp=True), torch.randn(1, 3, side, side, device=DEVICE)
    dtype = torch.bfloat16 if precision == "amp" else torch.float32
    step(model, x, dtype)  # libraries set up what they keep
    model.zero_grad(set_to_none=True)

    def train() -> None:
        with torch.autocast(DEVICE, dtype, enabled=precision == "amp"):
            maps = model(x)
        planning.objective(list(maps)).backward()

    assert peak(train) == pytest.approx(planned.activations + planned.gradients, rel=0.15)


@torch.no_grad()
def test_the_giants_backbone_takes_1536_pixels() -> None:
    if not REAL:
        pytest.skip("three billion weights")
    with torch.device(DEVICE):
        torch.set_default_dtype(torch.bfloat16)
        try:
            model = SwinTransformerV2("giant", window_size=48).eval()
        finally:
            torch.set_default_dtype(torch.float32)
        maps = model(torch.randn(1, 3, 1536, 1536, dtype=torch.bfloat16))
    assert [m.shape[-1] for m in maps] == [384, 192, 96, 48] and all(m.isfinite().all() for m in maps)
    assert math.log2(torch.cuda.max_memory_allocated()) < math.log2(40 * 2**30)

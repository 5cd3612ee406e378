"""What only a GPU can show: ``pytest -m gpu``, minutes on one card; ``GPU_TESTS_ON=cpu`` runs it, in small, without."""

from __future__ import annotations

import copy
import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.engine.strategies.fully_sharded import FullyShardedStrategy
from swinv2_dense.layers import cosine_attention_plain, window_attention
from swinv2_dense.measure.backbone_case import ARCHS as BENCH_ARCHS
from swinv2_dense.measure.whole_model_case import WholeModelCase
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2
from tests.models.oracles import randomize, relative_error

DEVICE = os.environ.get("GPU_TESTS_ON", "cuda")
REAL = DEVICE == "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # torch's own, of kernels, come from whichever line of ours calls them
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
    with torch.device(DEVICE):
        return randomize(SwinTransformerV2(**settings(arch), **options))  # type: ignore[return-value]


def settings(arch: Any) -> dict[str, Any]:
    out = tuple(range(4 if isinstance(arch, str) else len(arch["depths"])))
    return dict(arch=arch, window_size=WINDOW, drop_path_rate=0.0, out_indices=out)


def step(
    model: Callable[[Tensor], Sequence[Tensor]],
    weights: Iterable[Tensor],
    x: Tensor,
    dtype: torch.dtype = torch.float32,
) -> tuple[list[Tensor], Tensor]:
    """The maps, and the gradients of all weights that have one as a vector, in float32."""
    weights = list(weights)
    for p in weights:
        p.grad = None
    with torch.autocast(DEVICE, dtype) if dtype != torch.float32 else nullcontext():
        maps = [m.float() for m in model(x)]
    scale = 2.0**14 if dtype == torch.float16 else 1.0  # as in training, or small gradients become zero
    # in a direction of its own for every value: norms hold sums of squares
    random = torch.Generator(DEVICE).manual_seed(1)
    directions = [torch.randn(m.shape, generator=random, device=DEVICE) for m in maps]
    (scale * torch.stack([(m * d).mean() for m, d in zip(maps, directions, strict=True)]).sum()).backward()
    gradients = [p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad for p in weights]
    return [m.detach() for m in maps], torch.cat([g.flatten() for g in gradients if g is not None]) / scale


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
    found = step(model, model.parameters(), x, dtype)
    monkeypatch.setattr(window_attention, "cosine_attention", cosine_attention_plain)
    expected = step(model, model.parameters(), x)
    of_maps, of_gradients = TOLERANCE[dtype]
    assert relative_error(tuple(found[0]), expected[0]) < of_maps
    assert far(found[1], expected[1]) < of_gradients


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("arch", ARCHS)
def test_features_and_gradients_are_timms(arch: str, dtype: torch.dtype) -> None:
    from timm.models.swin_transformer_v2 import SwinTransformerV2 as Timm

    side = SIDE // 2 if REAL else SIDE
    sizes: Any = BENCH_ARCHS[arch] if REAL else dict(embed_dim=32, depths=(2, 2), num_heads=(1, 2))
    with torch.device(DEVICE):
        theirs: Any = randomize(Timm(img_size=side, window_size=WINDOW, num_classes=0, **sizes))
    ours, gradients = backbone(ARCHS[arch]), backbone(ARCHS[arch])
    stages = [min(WINDOW, side // (4 * 2**stage)) for stage in range(len(sizes["depths"]))]

    def maps(x: Tensor) -> list[Tensor]:
        """Without the norms of a detector's maps, which timm has none of."""
        found = theirs.forward_intermediates(x, intermediates_only=True)
        return [nn.functional.layer_norm(m.movedim(1, -1), m.shape[1:2]).movedim(-1, 1) for m in found]

    x = torch.randn(1, 3, side, side, device=DEVICE)
    expected, _ = step(maps, theirs.parameters(), x)
    load_pretrained(ours, theirs.state_dict(), stages)
    for norm in [module for name, module in ours.named_children() if name.startswith("norm")]:
        norm.reset_parameters()  # type: ignore[operator]
    # in our names and layout
    given = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in theirs.named_parameters()}
    load_pretrained(gradients, given, stages)
    shared = [(name, p) for name, p in ours.named_parameters() if not name.startswith("norm")]
    wanted = torch.cat([gradients.get_parameter(name).detach().flatten() for name, _ in shared])

    found, gradient = step(ours, [p for _, p in shared], x, dtype)
    of_maps, of_gradients = TOLERANCE[dtype]
    assert relative_error(tuple(found), expected) < of_maps
    assert far(gradient, wanted) < of_gradients


@pytest.mark.parametrize("change", ["with_cp", "compiled"])
def test_other_ways_give_the_same(change: str) -> None:
    side = SIDE // 2
    model, x = backbone(ARCHS["tiny"]), torch.randn(1, 3, side, side, device=DEVICE)
    expected = step(model, model.parameters(), x)
    if change == "with_cp":
        other = backbone(ARCHS["tiny"], with_cp=True)
        other.load_state_dict(model.state_dict())
        found = step(other, other.parameters(), x)
    else:
        found = step(torch.compile(model), model.parameters(), x)
    assert relative_error(tuple(found[0]), expected[0]) < 1e-4
    assert far(found[1], expected[1]) < 1e-3


def test_clips_give_the_formulas_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    side, window = (224, (8, 7, 7)) if REAL else (32, (2, 4, 4))
    options: dict[str, Any] = {} if REAL else dict(out_indices=1)
    model = VideoSwinTransformerV2(ARCHS["tiny"], window_size=window, drop_path_rate=0.0, **options)
    randomize(model).to(DEVICE)
    weights = list(model.parameters())
    clip = torch.randn(1, 3, 16 if REAL else 4, side, side, device=DEVICE)

    def maps(x: Tensor) -> tuple[Tensor, ...]:
        return out if isinstance(out := model(x), tuple) else (out,)

    found = step(maps, weights, clip)
    monkeypatch.setattr(window_attention, "cosine_attention", cosine_attention_plain)
    expected = step(maps, weights, clip)
    assert relative_error(tuple(found[0]), expected[0]) < 1e-4
    assert far(found[1], expected[1]) < 1e-3


@pytest.mark.parametrize(
    "config", ["htc_without_semantic_swinv2_t", "mask_rcnn_swinv2_t", "dino_swinv2_t", "mask2former_swinv2_t"]
)
def test_a_detector_trains(config: str) -> None:
    """Two steps in mixed precision, by torchvision's operators: losses and every gradient are numbers."""
    pytest.importorskip("mmdet.models", reason="needs mmdet")
    side = 1024 if REAL else 128
    case = WholeModelCase(config, True, "bf16", f"coco/{config}", height=side, width=side, window=0 if REAL else 4)
    model, run = case.build("ours", DEVICE)
    model.train()
    for _ in range(2 if REAL else 1):
        run()
    given = [p.grad for p in model.parameters() if p.grad is not None]
    assert given and all(torch.isfinite(g).all() for g in given)


@MODELS.register_module(force=True)
class OnlyBackbone(BaseModel):
    def __init__(self, **backbone: Any) -> None:
        super().__init__()
        self.backbone = SwinTransformerV2(**backbone)

    def forward(self, inputs: Tensor, *_: Any, **__: Any) -> tuple[Tensor, ...]:
        return self.backbone(inputs)


def test_fsdp_on_one_device_gives_the_same_and_trains(tmp_path: Path) -> None:
    """In bfloat16; by NCCL, on CPUs by gloo."""
    plain, x = backbone(ARCHS["large"]), torch.randn(1, 3, SIDE // 2, SIDE // 2, device=DEVICE)
    expected = step(plain, plain.parameters(), x)
    backend = "nccl" if REAL else "gloo"
    distributed.init_process_group(backend, f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        strategy = FullyShardedStrategy(mixed_precision="bfloat16", work_dir=str(tmp_path))
        wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-4))
        strategy.prepare(dict(type="OnlyBackbone", **settings(ARCHS["large"])), optim_wrapper=wrapper)
        model = strategy.model
        assert all(isinstance(p, DTensor) and p.device.type == DEVICE for p in model.parameters())
        model.load_state_dict({f"backbone.{name}": value.cpu() for name, value in plain.state_dict().items()})
        model.eval()
        found = step(model, model.parameters(), x)
        of_maps, of_gradients = TOLERANCE[torch.bfloat16]
        assert 0 < relative_error(tuple(found[0]), expected[0]) < of_maps
        assert far(found[1], expected[1]) < of_gradients

        before = {name: value.clone() for name, value in strategy.model_state_dict().items()}
        strategy.optim_wrapper.update_params(sum(m.square().mean() for m in model(x)))
        after = strategy.model_state_dict()
        moved = {name: (after[name] - value).abs().max().item() for name, value in before.items()}
        learnt = {f"backbone.{name}" for name, _ in plain.named_parameters()}
        assert all(0 < moved[name] < 1e-3 for name in learnt)
    finally:
        distributed.destroy_process_group()


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
@pytest.mark.parametrize("side", [1024, 1536])
@pytest.mark.parametrize("arch", ["tiny", "large"])
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
    step(model, model.parameters(), x, dtype)  # libraries set up what they keep
    model.zero_grad(set_to_none=True)

    def train() -> None:
        with torch.autocast(DEVICE, dtype, enabled=precision == "amp"):
            maps = model(x)
        planning.objective(list(maps)).backward()

    assert peak(train) == pytest.approx(planned.activations + planned.gradients, rel=0.15)


@torch.no_grad()
def test_the_giants_backbone_takes_1536_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three billion weights in bfloat16, within the 40 GiB of section 3.5's cards."""
    arch: Any = "giant" if REAL else dict(SMALL, extra_norm_every_n_blocks=1)
    side, window = (1536, 48) if REAL else (64, 8)
    if REAL:
        torch.cuda.reset_peak_memory_stats()
    with torch.device(DEVICE):
        torch.set_default_dtype(torch.bfloat16)
        try:
            model = SwinTransformerV2(**{**settings(arch), "window_size": window}).eval()
        finally:
            torch.set_default_dtype(torch.float32)
        maps = model(torch.randn(1, 3, side, side, dtype=torch.bfloat16))
    assert [m.shape[-1] for m in maps] == [side // stride for stride in (4, 8, 16, 32)][: len(maps)]
    assert all(m.isfinite().all() for m in maps)
    if REAL:
        assert torch.cuda.max_memory_allocated() < 40 * 2**30

"""What ``swinv2 bench`` measures: its cases, the backbones of the peers, the time and memory of one step."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.measure.complexity import complexity
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2

__all__ = ["DEFAULT", "Case", "build", "cases", "floor", "matrix_rate", "measure", "profile", "relative_error"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
ARCHS: dict[str, dict[str, Any]] = {
    "tiny": dict(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    "large": dict(embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
}
VIDEO_WINDOW = (8, 7, 7)


@dataclass(frozen=True)
class Case:
    """One image of ``side`` pixels, or one clip, through a backbone. ``window``: tokens; 0 for the clip's."""

    name: str
    arch: str
    side: int
    window: int
    train: bool
    dtype: str
    exported: bool = False
    """Whether it compares the backbone with files that were exported, of it and of timm's."""

    @property
    def input_size(self) -> tuple[int, ...]:
        return (1, 3, self.side, self.side) if self.window else (1, 3, 32, self.side, self.side)

    @property
    def peers(self) -> tuple[str, ...]:
        if self.exported:
            return ("onnx", "pt2", "timm-onnx")
        return ("timm", "mmpretrain", "huggingface") if self.window else ("mmaction",)


def cases() -> dict[str, Case]:
    sizes = [("tiny", 256, 8), ("tiny", 640, 40), ("tiny", 512, 32), ("tiny", 1024, 32), ("tiny", 1536, 32)]
    sizes += [("large", 1024, 32), ("large", 1536, 32)]
    found = []
    for arch, side, window in sizes:
        for train in (False, True):
            for dtype in DTYPES:
                name = f"{'training' if train else 'inference'}-{arch}-{side}-w{window}-{dtype}"
                found.append(Case(name, arch, side, window, train, dtype))
    for side, window in ((256, 8), (512, 32)):
        name = f"export-tiny-{side}-w{window}-fp32"
        found.append(Case(name, "tiny", side, window, train=False, dtype="fp32", exported=True))
    found.append(Case("inference-video-tiny-224-fp32", "tiny", 224, 0, train=False, dtype="fp32"))
    return {case.name: case for case in found}


# What `make bench` runs: the cases that the docs show, minutes on two cores.
DEFAULT = (
    "inference-tiny-256-w8-fp32",
    "inference-tiny-640-w40-fp32",
    "inference-tiny-1024-w32-fp32",
    "training-tiny-640-w40-fp32",
    "training-tiny-1024-w32-fp32",
    "inference-tiny-640-w40-bf16",
    "training-tiny-640-w40-bf16",
    "inference-video-tiny-224-fp32",
)

Forward = Callable[[Tensor], Sequence[Tensor]]


def build(implementation: str, case: Case) -> tuple[nn.Module, Forward]:
    """A backbone with random weights and the function that gives the maps of its four stages."""
    arch, side, window = ARCHS[case.arch], case.side, case.window
    # what the classification models of these sizes do: no window is larger than its map
    windows = [min(window, side // (4 * 2**stage)) for stage in range(4)]
    if implementation == "ours":
        if not window:
            model: Any = VideoSwinTransformerV2(case.arch, window_size=VIDEO_WINDOW, drop_path_rate=0.0)
        else:
            model = SwinTransformerV2(case.arch, window_size=window, pretrained_window_size=windows, drop_path_rate=0.0)
        return model, model
    if implementation in ("onnx", "pt2"):
        model, _ = build("ours", case)
        return model, _exported(model, case, implementation)
    if implementation == "timm-onnx":
        model, forward = build("timm", case)
        model.eval()
        return model, _by_onnxruntime(forward, case)
    if implementation == "timm":
        from timm.models.swin_transformer_v2 import SwinTransformerV2 as Timm

        model = Timm(img_size=side, window_size=window, drop_path_rate=0.0, num_classes=0, **arch)
        return model, lambda x: model.forward_intermediates(x, intermediates_only=True)
    if implementation == "mmpretrain":
        from mmpretrain.models.backbones import SwinTransformerV2 as MMPretrain

        model = MMPretrain(case.arch, side, window_size=windows, drop_path_rate=0.0, out_indices=(0, 1, 2, 3))
        return model, model
    if implementation == "huggingface":
        from transformers import Swinv2Backbone, Swinv2Config

        stages = [f"stage{i}" for i in range(1, 5)]
        config = Swinv2Config(image_size=side, window_size=window, drop_path_rate=0.0, out_features=stages, **arch)
        model = Swinv2Backbone(config)
        return model, lambda x: model(x).feature_maps
    from swinv2_dense.compat.mmaction import import_mmaction

    import_mmaction()
    from mmaction.models.backbones import SwinTransformer3D

    model = SwinTransformer3D(
        "tiny", patch_size=(2, 4, 4), window_size=VIDEO_WINDOW, drop_path_rate=0.0, out_indices=(0, 1, 2, 3)
    )
    return model, model


def _exported(model: nn.Module, case: Case, suffix: str) -> Forward:
    """Our own model by a file that takes this case's size."""
    from swinv2_dense.export import export, load

    with tempfile.TemporaryDirectory() as folder:
        report = export(model, Path(folder) / f"model.{suffix}", size=(case.side, case.side))
        run = load(report.path)
    return lambda x: [torch.from_numpy(output) for output in run(x.numpy()).values()]


class _Maps(nn.Module):
    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.maps = forward

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.maps(x))


def _by_onnxruntime(forward: Forward, case: Case) -> Forward:
    """A peer's model by ONNX Runtime, exported as torch does it."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "model.onnx"
        program = torch.onnx.export(_Maps(forward).eval(), (torch.randn(case.input_size),), dynamo=True, verbose=False)
        assert program is not None
        program.save(path)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: [torch.from_numpy(output) for output in session.run(None, {name: x.numpy()})]


def step(forward: Forward, x: Tensor, case: Case) -> None:
    """What is timed: a forward pass, and for training the gradients of all weights too."""
    with torch.autocast(x.device.type, DTYPES[case.dtype], enabled=case.dtype != "fp32"):
        maps = forward(x)
    if case.train:
        sum((m.float().square().mean() for m in maps), torch.zeros((), device=x.device)).backward()


def measure(implementation: str, case: Case, runs: int, device: str) -> dict[str, float]:
    """Median seconds of a step, of ``runs`` or what two seconds hold, and MiB at the first one's peak beyond the
    model, its gradients and the input."""
    torch.manual_seed(0)
    with torch.device(device):
        model, forward = build(implementation, case)
        x = torch.randn(case.input_size)
    model.train(case.train)
    with torch.set_grad_enabled(case.train):
        if case.train:  # gradients belong to the weights, not to the step
            for p in model.parameters():
                p.grad = torch.zeros_like(p)
        before = _memory(device, reset=True)
        step(forward, x, case)
        peak = _memory(device, peak=True) - before
        seconds: list[float] = []
        while len(seconds) < runs or sum(seconds) < 2:
            _synchronize(device)
            start = time.perf_counter()
            step(forward, x, case)
            _synchronize(device)
            seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "mib": peak / 2**20}


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _memory(device: str, *, peak: bool = False, reset: bool = False) -> int:
    """Bytes in use, or at the peak since the last reset: the allocator's on a GPU, resident ones on the CPU."""
    if device == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM" if peak else "VmRSS"].split()[0]) * 1024


def relative_error(case: Case) -> float:
    """Largest relative error of our maps against timm's, with timm's weights, none of which is without influence."""
    from swinv2_dense.checkpoint import load_pretrained

    torch.manual_seed(0)
    theirs, forward = build("timm", case)
    for name, p in theirs.named_parameters():
        if "norm1" in name or "norm2" in name:
            nn.init.normal_(p, 0.5, 0.2)
        elif "cpb_mlp" in name:
            nn.init.normal_(p, std=0.2)
    ours, _ = build("ours", case)
    load_pretrained(ours, theirs.state_dict(), [min(case.window, case.side // (4 * 2**s)) for s in range(4)])
    x = torch.randn(case.input_size)
    with torch.no_grad():
        maps = [F.layer_norm(m.movedim(1, -1), m.shape[1:2]).movedim(-1, 1) for m in forward(x)]
        return max(((a - b).norm() / b.norm()).item() for a, b in zip(ours.eval()(x), maps, strict=True))


def matrix_rate(device: str, dtype: str) -> float:
    """Floating-point operations per second of one large matrix product: the best of ten."""
    n = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=DTYPES[dtype]) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        _synchronize(device)
        start = time.perf_counter()
        a @ b
        _synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


def floor(case: Case, rate: float) -> float:
    """Seconds that the case's matrix products take at ``rate``; gradients of both factors cost twice the forward."""
    flops = complexity(lambda: build("ours", case)[0], *case.input_size).flops
    return flops * (3 if case.train else 1) / rate


def profile(case: Case, device: str) -> None:
    """Print where the time of our own step goes."""
    with torch.device(device):
        model, forward = build("ours", case)
        x = torch.randn(case.input_size)
    model.train(case.train)
    with torch.set_grad_enabled(case.train):
        step(forward, x, case)
        with torch.profiler.profile(acc_events=True) as events:
            step(forward, x, case)
    by = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
    print(events.key_averages().table(sort_by=by, row_limit=15, max_name_column_width=60))

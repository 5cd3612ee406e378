"""Backbones for ``swinv2 bench``: ours, and those of the peers as they are installed, eager, compiled and exported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.measure.benchmark import DTYPES, Case
from swinv2_dense.measure.complexity import complexity
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2

__all__ = ["BackboneCase"]

ARCHS: dict[str, dict[str, Any]] = {
    "tiny": dict(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    "large": dict(embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
}
VIDEO_WINDOW = (8, 7, 7)

Forward = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class BackboneCase(Case):
    """Images of ``side`` pixels, or one clip, through a backbone. ``window``: tokens; 0 for the clip's."""

    arch: str = "tiny"
    side: int = 256
    window: int = 8
    batch: int = 1
    exported: bool = False
    """Whether it compares the backbone with files that were exported, of it and of timm's."""

    @property
    def input_size(self) -> tuple[int, ...]:
        return (self.batch, 3, self.side, self.side) if self.window else (self.batch, 3, 32, self.side, self.side)

    def peers(self, device: str = "cpu") -> tuple[str, ...]:
        if self.exported:
            return ("onnx", "pt2", "timm-onnx")
        if not self.window:
            return ("mmaction",)
        by_torch = ("timm", "mmpretrain", "huggingface", "timm-compiled", "huggingface-compiled")
        if device == "cuda":  # the kernel knows no float32, and ONNX Runtime is installed for CPUs
            return (*by_torch, "ours-compiled", *([] if self.dtype == "fp32" else ["flash-window"]))
        # ONNX Runtime neither trains nor has these layers in bfloat16 on CPUs
        return by_torch if self.train or self.dtype != "fp32" else (*by_torch, "timm-onnx")

    def build(self, implementation: str, device: str = "cpu") -> tuple[nn.Module, Callable[[], None]]:
        with torch.device(device):
            model, forward = self.model(implementation)
            x = torch.randn(self.input_size)

        def step() -> None:
            with torch.autocast(device, DTYPES[self.dtype], enabled=self.dtype != "fp32"):
                maps = forward(x)
            if self.train:
                sum((m.float().square().mean() for m in maps), torch.zeros((), device=device)).backward()

        return model, step

    def model(self, implementation: str) -> tuple[nn.Module, Forward]:
        """A backbone with random weights and the function that gives the maps of its four stages."""
        arch, side, window = ARCHS[self.arch], self.side, self.window
        # what the classification models of these sizes do: no window is larger than its map
        windows = [min(window, side // (4 * 2**stage)) for stage in range(4)]
        if implementation.endswith("-compiled"):
            eager, forward = self.model(implementation.removesuffix("-compiled"))
            return eager, torch.compile(forward, dynamic=False)
        if implementation == "ours":
            if not window:
                model: Any = VideoSwinTransformerV2(self.arch, window_size=VIDEO_WINDOW, drop_path_rate=0.0)
            else:
                model = SwinTransformerV2(
                    self.arch, window_size=window, pretrained_window_size=windows, drop_path_rate=0.0
                )
            return model, model
        if implementation in ("onnx", "pt2"):
            model, _ = self.model("ours")
            return model, _exported(model, self, implementation)
        if implementation == "timm-onnx":
            model, forward = self.model("timm")
            model.eval()
            return model, _by_onnxruntime(forward, self)
        if implementation == "flash-window":
            model, forward = self.model("timm")
            return _with_flash_window(model), forward
        if implementation == "timm":
            from timm.models.swin_transformer_v2 import SwinTransformerV2 as Timm

            model = Timm(img_size=side, window_size=window, drop_path_rate=0.0, num_classes=0, **arch)
            return model, lambda x: model.forward_intermediates(x, intermediates_only=True)
        if implementation == "mmpretrain":
            from mmpretrain.models.backbones import SwinTransformerV2 as MMPretrain

            model = MMPretrain(self.arch, side, window_size=windows, drop_path_rate=0.0, out_indices=(0, 1, 2, 3))
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

    def flops(self, device: str = "cpu") -> int:
        return complexity(lambda: self.model("ours")[0], *self.input_size).flops

    def error(self) -> float | None:
        """Of our maps against timm's, with timm's weights, none of which is without influence."""
        if self.train or self.dtype != "fp32" or not self.window or self.exported:
            return None
        from swinv2_dense.checkpoint import load_pretrained

        torch.manual_seed(0)
        theirs, forward = self.model("timm")
        for name, p in theirs.named_parameters():
            if "norm1" in name or "norm2" in name:
                nn.init.normal_(p, 0.5, 0.2)
            elif "cpb_mlp" in name:
                nn.init.normal_(p, std=0.2)
        ours, _ = self.model("ours")
        load_pretrained(ours, theirs.state_dict(), [min(self.window, self.side // (4 * 2**s)) for s in range(4)])
        x = torch.randn(self.input_size)
        with torch.no_grad():
            maps = [F.layer_norm(m.movedim(1, -1), m.shape[1:2]).movedim(-1, 1) for m in forward(x)]
            return max(((a - b).norm() / b.norm()).item() for a, b in zip(ours.eval()(x), maps, strict=True))


def _with_flash_window(model: Any) -> Any:
    """timm's model with the attention of flash-window-attention-v2, a Triton kernel of cosine attention for GPUs (a
    repository, github.com/emiledgl/flash-window-attention-v2). It wants one dtype of all its operands: autocast gives
    it all but the scale."""
    from flash_win_attn_v2 import WindowAttention

    for stage in model.layers:
        for block in stage.blocks:
            theirs = block.attn
            size = dict(window_size=theirs.window_size, pretrained_window_size=theirs.pretrained_window_size)
            block.attn = WindowAttention(theirs.dim, num_heads=theirs.num_heads, **size)
            block.attn.logit_scale = nn.Parameter(block.attn.logit_scale.detach().bfloat16())
    return model


def _exported(model: nn.Module, case: BackboneCase, suffix: str) -> Forward:
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


def _by_onnxruntime(forward: Forward, case: BackboneCase) -> Forward:
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

"""Backbones at a tiny size: every peer builds, its maps are stages 4 to 32, ours agree with timm's."""

from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace

import pytest
import torch
from timm.models.swin_transformer_v2 import WindowAttention

from swinv2_dense.measure.backbone_case import BackboneCase
from swinv2_dense.measure.benchmark import DTYPES

TINY = BackboneCase("tiny", side=64, window=4)


@pytest.mark.parametrize(
    "implementation",
    [
        *("ours", "timm", "mmpretrain", "huggingface", "timm-compiled", "ours-compiled"),
        pytest.param("timm-onnx", marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_every_implementation_gives_the_same_four_maps(implementation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda forward, **_: (compiled.append(forward), forward)[1])
    if "onnx" in implementation:
        pytest.importorskip("onnxscript", reason="exporting needs the export extra")
    _, forward = TINY.model(implementation)
    maps = forward(torch.randn(TINY.input_size))
    assert [tuple(m.shape) for m in maps] == [(1, 96 * 2**i, 16 // 2**i, 16 // 2**i) for i in range(4)]
    assert len(compiled) == implementation.endswith("-compiled")


def test_features_agree_with_timms() -> None:
    error = TINY.error()
    assert error is not None
    assert error < 1e-4


def test_peers() -> None:
    assert "timm-onnx" in TINY.peers()
    assert "timm-compiled" in dataclasses.replace(TINY, train=True).peers()
    assert "timm-onnx" not in dataclasses.replace(TINY, train=True).peers()
    assert dataclasses.replace(TINY, exported=True).peers() == ("onnx", "pt2", "timm-onnx")
    assert dataclasses.replace(TINY, window=0).peers() == ("mmaction",)
    assert "timm-onnx" not in TINY.peers("cuda")
    assert ["flash-window" in dataclasses.replace(TINY, dtype=d).peers("cuda") for d in DTYPES] == [False, True]


class _Kernel(WindowAttention):
    """Called as flash-window-attention-v2's, and timm's otherwise."""

    def __init__(self, dim: int, window_size: tuple[int, int], num_heads: int, **options: object) -> None:
        super().__init__(dim, window_size, num_heads, **options)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        assert self.qkv(x).dtype == self.logit_scale.dtype == torch.bfloat16  # as the kernel wants it
        return super().forward(x, mask)


@pytest.mark.parametrize("train", [False, True])
def test_the_kernel_attends_in_every_block(train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_win_attn_v2", SimpleNamespace(WindowAttention=_Kernel))  # type: ignore[arg-type]
    model, step = dataclasses.replace(TINY, train=train, dtype="bf16").build("flash-window")
    step()
    assert sum(isinstance(m, _Kernel) for m in model.modules()) == 12
    assert (model.layers[2].blocks[1].attn.logit_scale.grad is not None) == train

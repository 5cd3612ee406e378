"""Backbones at a tiny size: every peer builds, its maps are stages 4 to 32, ours agree with timm's."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from swinv2_dense.measure.backbone_case import BackboneCase

TINY = BackboneCase("tiny", side=64, window=4)


@pytest.mark.parametrize(
    "implementation",
    [
        *("ours", "timm", "mmpretrain", "huggingface", "timm-compiled"),
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
    assert "timm-onnx" in TINY.peers
    assert "timm-compiled" in dataclasses.replace(TINY, train=True).peers
    assert "timm-onnx" not in dataclasses.replace(TINY, train=True).peers
    assert dataclasses.replace(TINY, exported=True).peers == ("onnx", "pt2", "timm-onnx")
    assert dataclasses.replace(TINY, window=0).peers == ("mmaction",)

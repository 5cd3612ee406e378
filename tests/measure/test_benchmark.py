"""The benchmark's parts at a tiny size: every peer builds, its maps are stages 4 to 32, ours agree with timm's."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from swinv2_dense.measure import benchmark

TINY = dataclasses.replace(benchmark.cases()["inference-tiny-256-w8-fp32"], side=64, window=4)


@pytest.mark.parametrize(
    "implementation",
    [
        *("ours", "timm", "mmpretrain", "huggingface"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("onnx", "timm-onnx")),
    ],
)
@torch.no_grad()
def test_every_implementation_gives_the_same_four_maps(implementation: str) -> None:
    if "onnx" in implementation:
        pytest.importorskip("onnxscript", reason="exporting needs the export extra")
    _, forward = benchmark.build(implementation, TINY)
    maps = forward(torch.randn(TINY.input_size))
    assert [tuple(m.shape) for m in maps] == [(1, 96 * 2**i, 16 // 2**i, 16 // 2**i) for i in range(4)]


@pytest.mark.parametrize("train", [False, True])
def test_a_measurement_has_seconds_and_mebibytes(train: bool) -> None:
    found = benchmark.measure("ours", dataclasses.replace(TINY, train=train), runs=1, device="cpu")
    assert found["seconds"] > 0
    assert 0 <= found["mib"] < 2000


def test_features_agree_with_timms() -> None:
    assert benchmark.relative_error(TINY) < 1e-4


def test_training_has_three_times_the_floor_of_inference() -> None:
    train = dataclasses.replace(TINY, train=True)
    assert benchmark.floor(train, 1e9) == pytest.approx(3 * benchmark.floor(TINY, 1e9))


def test_exported_cases_compare_with_files() -> None:
    assert benchmark.cases()["export-tiny-256-w8-fp32"].peers == ("onnx", "pt2", "timm-onnx")


def test_default_cases_exist() -> None:
    assert set(benchmark.DEFAULT) <= set(benchmark.cases())

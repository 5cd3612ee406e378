"""What is measured of a case, and the floor."""

from __future__ import annotations

import dataclasses

import pytest

from swinv2_dense.measure import benchmark
from swinv2_dense.measure.backbone_case import BackboneCase

TINY = BackboneCase("tiny", side=64, window=4)


@pytest.mark.parametrize("train", [False, True])
def test_a_measurement_has_seconds_and_mebibytes(train: bool) -> None:
    found = benchmark.measure("ours", dataclasses.replace(TINY, train=train), runs=1, device="cpu")
    assert found["seconds"] > 0
    assert 0 <= found["mib"] < 2000


def test_training_has_three_times_the_floor_of_inference() -> None:
    assert benchmark.floor(600, 100.0, train=False) == 6
    assert benchmark.floor(600, 100.0, train=True) == 18
    batch = dataclasses.replace(TINY, batch=4)  # the position bias is computed once a batch
    assert batch.flops() == pytest.approx(4 * TINY.flops(), rel=0.01)

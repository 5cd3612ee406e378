"""What counts as the same: relative to the outputs, box by box, mask by mask, and no more than rounding explains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.export import checking
from swinv2_dense.export.checking import check
from swinv2_dense.export.loaded import ExportedModel
from swinv2_dense.export.tasks import Exportable


def test_small_scores_are_compared_by_their_own_measure() -> None:
    wanted = np.full((2, 1000), 1e-3, np.float32)
    found = wanted.copy()
    found[1, 7] *= 1.05
    assert checking._difference(found, wanted, "scores", torch.zeros(2, 3, 8, 8)) == pytest.approx(0.05, rel=1e-3)
    assert checking._difference(wanted * 1000, wanted * 1000, "scores", torch.zeros(1)) == 0


def test_a_box_that_differs_is_found() -> None:
    wanted = dict(
        boxes=np.array([[[0.0, 0, 10, 10], [0, 0, 20, 20], [0, 0, 0, 0]]]),
        scores=np.array([[0.9, 0.9, 0]]),
        labels=np.array([[1, 1, -1]]),
    )
    swapped = {name: value[:, [1, 0, 2]] for name, value in wanted.items()}
    x = torch.zeros(1, 3, 100, 100)
    assert checking._detections_differ(swapped, wanted, x) == 0
    moved = {**wanted, "boxes": wanted["boxes"] + 1}
    assert checking._detections_differ(moved, wanted, x) == pytest.approx(0.01)
    other = {**wanted, "labels": np.array([[1, 2, -1]])}
    with pytest.raises(UserError, match="no box of label 1"):
        checking._detections_differ(other, wanted, x)
    fewer = {**wanted, "labels": np.array([[1, -1, -1]])}
    with pytest.raises(UserError, match="1 boxes instead of 2"):
        checking._detections_differ(fewer, wanted, x)


def masked(size: int = 10, offset: int = 0) -> dict[str, Any]:
    """A box of ``size`` pixels a side in an image of 1000 x 1000, and its mask: a file's, the left half of the box."""
    mask = np.zeros((1, 1, 28, 28), np.float32)
    mask[..., :14] = 1
    whole = np.zeros((1, 1, 1000, 1000), bool)
    whole[:, :, :size, offset : offset + size // 2] = True
    box = np.array([[[0.0, 0, size, size]]], np.float32)
    return dict(boxes=box, scores=np.array([[0.9]]), labels=np.array([[1]]), masks=mask, whole=whole)


def test_the_mask_of_a_small_box_counts() -> None:
    """Of a million pixels a hundred are none too few."""
    x = torch.zeros(1, 3, 1000, 1000)
    for offset, error in ((0, 0), (5, 1.0)):
        found = masked(offset=offset)
        wanted = {**found, "masks": found["whole"]}
        assert checking._detections_differ(found, wanted, x) == pytest.approx(error, abs=0.2 if error else 0)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_masks_are_cut_where_the_model_cuts_them(threshold: float) -> None:
    found = masked()
    found["masks"] = found["masks"] * 0.6  # 0.6 in the mask
    wanted = {**found, "masks": found["whole"] & (threshold < 0.6)}
    x = torch.zeros(1, 3, 1000, 1000)
    assert checking._detections_differ(found, wanted, x, threshold=threshold) <= 0.2
    other = {**found, "masks": found["whole"] & (threshold > 0.6)}
    assert checking._detections_differ(found, other, x, threshold=threshold) > 0.3


class Steep(nn.Module):
    """A sum of which little is left, so that rounding decides: that of float32 here, and of another order there."""

    def __init__(self, steepness: float) -> None:
        super().__init__()
        self.steepness = nn.Parameter(torch.tensor(steepness))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (((x + self.steepness) - self.steepness),)


def file(function: Any) -> ExportedModel:
    return ExportedModel(lambda images: {"out": function(torch.from_numpy(images)).detach().numpy()}, {}, "model.onnx")


def test_rounding_is_told_from_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file as near to the exact result as the model is passes beyond the bound; one that is further does not."""

    def exportable(model: nn.Module) -> Exportable:
        return Exportable("features", model, lambda x: model(x), ("out",), any_size=True)

    monkeypatch.setattr(checking, "exportable", exportable)
    model = Steep(3000.0)
    x = (torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)),)
    what = exportable(model)
    (found,) = check(file(lambda x: x), what, [x], "fp32", model)  # exact: only the model rounds
    assert found.rounding is not None and 1e-4 < found.error <= found.rounding * 1.01
    shift = 5 * found.rounding
    with pytest.raises(UserError, match="outputs differ by"):
        check(file(lambda x: x + shift), what, [x], "fp32", model)
    calm = Steep(0.0)
    (near,) = check(file(lambda x: x), exportable(calm), [x], "fp32", calm)
    assert near.error == 0 and near.rounding is None
    with pytest.raises(UserError, match="outputs differ by"):
        check(file(lambda x: x * (1 + 3e-4)), exportable(calm), [x], "fp32", calm)
    with pytest.raises(UserError, match="outputs differ by nan"):
        check(file(lambda x: x * torch.nan), exportable(calm), [x], "fp32", calm)

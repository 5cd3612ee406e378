"""The three position biases: each by its formula, trained by gradients, carried to another window by a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.errors import UserError
from swinv2_dense.layers import BiasTable, LinearCPB
from swinv2_dense.layers.position_bias import POSITION_BIASES, bicubic
from swinv2_dense.models import SwinTransformerV2
from tests.models.oracles import ARCH, randomize


def model(kind: str, window: int, **options: object) -> SwinTransformerV2:
    return randomize(SwinTransformerV2(ARCH, window_size=window, position_bias=kind, **options)).eval()  # type: ignore


def test_linear_coordinates_are_offsets_over_the_pretraining_window() -> None:
    cpb = LinearCPB(2, (4, 3))
    coordinates = cpb.coordinates((6, 2), torch.device("cpu"))
    for y in range(-5, 6):
        for x in range(-1, 2):
            assert coordinates[y + 5, x + 1].tolist() == pytest.approx([y / 3, x / 2])
    hidden = (coordinates @ cpb[0].weight.T + cpb[0].bias).clamp(min=0) @ cpb[2].weight.T
    torch.testing.assert_close(cpb((6, 2)), 16 / (1 + (-hidden).exp()).movedim(-1, 0))


def _cubic_by_hand(row: np.ndarray, size: int, a: float = -0.75) -> np.ndarray:
    def kernel(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    out = np.zeros(size)
    for i in range(size):
        centre = (i + 0.5) * len(row) / size - 0.5
        for j in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            out[i] += kernel(centre - j) * row[min(max(j, 0), len(row) - 1)]
    return out


def test_bicubic_is_cubic_convolution_and_torchs_own_on_two_axes() -> None:
    torch.manual_seed(0)
    table = torch.randn(3, 7, 5)
    theirs = torch.nn.functional.interpolate(table[None], (15, 9), mode="bicubic")[0]
    torch.testing.assert_close(bicubic(table, (15, 9)), theirs, atol=1e-5, rtol=0)
    row = bicubic(table, (7, 11))[1, 2].numpy()
    np.testing.assert_allclose(row, _cubic_by_hand(table[1, 2].numpy(), 11), atol=1e-5)
    clip = torch.randn(2, 3, 5, 7)
    assert bicubic(clip, (5, 9, 7)).shape == (2, 5, 9, 7)
    assert torch.equal(bicubic(clip, (3, 5, 7)), clip)


def test_a_table_of_a_smaller_map_is_the_middle_of_the_windows() -> None:
    table = BiasTable(2, (4, 4), (4, 4))
    assert torch.equal(table.table((4, 4)), table.weight)
    assert torch.equal(table.table((2, 3)), table.weight[:, 2:5, 1:6])
    torch.testing.assert_close(table.table((4, 6)), bicubic(table.weight, (7, 11)))


@pytest.mark.parametrize("kind", POSITION_BIASES)
def test_every_bias_learns_and_infers_what_it_trains(kind: str) -> None:
    net = model(kind, 4)
    x = torch.randn(2, 3, 72, 64)
    training = net(x)
    sum(o.square().mean() for o in training).backward()
    for name, p in net.named_parameters():
        if ".cpb_mlp." in name:
            assert p.grad is not None and p.grad.abs().sum() > 0, name
    with torch.no_grad():
        for a, b in zip(net(x), training, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("by_file", [True, False])
def test_a_table_is_resized_when_its_weights_are_loaded_at_another_window(tmp_path: Path, by_file: bool) -> None:
    small, large = model("table", 4), model("table", 6)
    if by_file:
        torch.save({"state_dict": small.state_dict()}, tmp_path / "small.pth")
        load_pretrained(large, tmp_path / "small.pth")
    else:
        large.load_state_dict(small.state_dict())
    for name, p in small.named_parameters():
        theirs = dict(large.named_parameters())[name]
        expected = bicubic(p, (11, 11)) if name.endswith("cpb_mlp.weight") else p
        assert torch.equal(theirs, expected), name


@pytest.mark.parametrize("of", POSITION_BIASES)
@pytest.mark.parametrize("into", POSITION_BIASES)
def test_weights_of_another_bias_are_refused(of: str, into: str, tmp_path: Path) -> None:
    theirs, ours = model(of, 4), model(into, 4)
    if of == into:
        ours.load_state_dict(theirs.state_dict())
        return
    with pytest.raises(UserError, match=r"cpb_mlp.*set the backbone's position_bias"):
        ours.load_state_dict(theirs.state_dict(), strict=False)
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "theirs.pth")
    with pytest.raises(UserError, match=r"cpb_mlp.*set the backbone's position_bias"):
        load_pretrained(ours, tmp_path / "theirs.pth")


def test_an_unknown_bias_is_named() -> None:
    with pytest.raises(UserError, match="position_bias='rope' must be one of 'log_cpb', 'linear_cpb', 'table'"):
        SwinTransformerV2(ARCH, position_bias="rope")

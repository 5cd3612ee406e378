"""The stand-ins give the features of the layers that they stand in for, on maps of every size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swinv2_dense.errors import UserError
from swinv2_dense.export.traceable import TraceableAveragePool, _windows, traceable
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2
from tests.models.oracles import ARCH, randomize, relative_error

SIZES = [(64, 64), (97, 61), (5, 300), (128, 256), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [4, 5])
@pytest.mark.parametrize("pad", ["mask", "zeros"])
@torch.no_grad()
def test_same_features(pad: str, window: int, size: tuple[int, int]) -> None:
    arch = {**ARCH, "extra_norm_every_n_blocks": 2}
    model = randomize(SwinTransformerV2(arch, window_size=window, pretrained_window_size=3, pad_attention=pad))
    x = torch.randn(2, 3, *size)
    assert relative_error(traceable(model)(x), list(model(x))) < 1e-5


@pytest.mark.parametrize("position_bias", ["log_cpb", "linear_cpb", "table"])
@torch.no_grad()
def test_every_position_bias_becomes_a_constant(position_bias: str) -> None:
    model = randomize(SwinTransformerV2(ARCH, window_size=4, qkv_bias=False, position_bias=position_bias))
    stand_in, x = traceable(model), torch.randn(1, 3, 72, 60)
    assert not [name for name, _ in stand_in.named_parameters() if "cpb_mlp" in name]
    assert relative_error(stand_in(x), list(model(x))) < 1e-5


@pytest.mark.parametrize(
    ("size", "shifted", "masked"),
    [((8, 12), False, False), ((8, 12), True, True), ((8, 11), False, True), ((3, 12), False, False)],
)
def test_windows_that_are_whole_need_no_mask(size: tuple[int, int], shifted: bool, masked: bool) -> None:
    windows = _windows(size, (4, 4), shifted=shifted, zeros=False, device=torch.device("cpu"))
    assert windows.source is not None and (windows.mask is not None) == masked


@torch.no_grad()
def test_clips() -> None:
    model = randomize(VideoSwinTransformerV2(ARCH, window_size=(2, 4, 3)))
    for size in ((5, 60, 44), (2, 64, 48)):
        x = torch.randn(2, 3, *size)
        assert relative_error(traceable(model)(x), list(model(x))) < 1e-5


@torch.no_grad()
def test_the_model_itself_stays_as_it_is() -> None:
    model = randomize(SwinTransformerV2(ARCH, window_size=4)).train()
    before = {name: type(module) for name, module in model.named_modules()}
    traceable(model)
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert model.training and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(7, 2), (1, 1), (12, 18), (5, 31)])
def test_average_pool(size: tuple[int, int], bins: int) -> None:
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    torch.testing.assert_close(TraceableAveragePool((bins, bins))(x), nn.AdaptiveAvgPool2d(bins)(x))


def test_replaced_attention_is_refused() -> None:
    model = SwinTransformerV2(ARCH, window_size=4)
    model.layers[0].blocks[1].attn = nn.Identity()
    with pytest.raises(UserError, match="a Identity stands in"):
        traceable(model)

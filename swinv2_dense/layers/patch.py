"""Patch embedding and patch merging: the steps from pixels to tokens and from stage to stage."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.layers.dispatch import is_transformed
from swinv2_dense.layers.linear import apply_linear

__all__ = ["PatchEmbed", "PatchMerging", "pad_to_multiple"]

_CONV: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
# Channels last, a convolution writes tokens as they are read from then on.
_LAYOUT = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}


def pad_to_multiple(x: Tensor, multiple: tuple[int, ...], first_axis: int) -> Tensor:
    """Zeros at the far end of axes ``first_axis``, ``first_axis + 1``, ... up to the next multiple."""
    missing = [-x.shape[first_axis + i] % m for i, m in enumerate(multiple)]
    if not any(missing):
        return x
    behind = x.ndim - first_axis - len(multiple)
    pads = [0, 0] * behind + [n for amount in reversed(missing) for n in (0, amount)]
    return F.pad(x, pads)


class PatchEmbed(nn.Module):
    """Convolution whose kernel is its stride, then LayerNorm.

    B x C_in x *pixels -> B x *tokens x C, tokens = ceil(pixels / patch); pixels are padded with zeros at the far end.
    """

    def __init__(self, in_channels: int, embed_dims: int, patch_size: tuple[int, ...]) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj: nn.Module = _CONV[len(patch_size)](in_channels, embed_dims, patch_size, patch_size)
        self.norm = nn.LayerNorm(embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        x = pad_to_multiple(x, self.patch_size, first_axis=2)
        if not is_transformed(x):  # vmap knows no other layout than the plain one
            x = x.contiguous(memory_format=_LAYOUT[len(self.patch_size)])
        return self.norm(self.proj(x).movedim(1, -1))


class PatchMerging(nn.Module):
    """2 x 2 neighbours along the last two axes (time is not merged) -> one token of twice the width, then the norm.

    B x ... x H x W x C -> B x ... x ceil(H/2) x ceil(W/2) x 2C. Of the 4C channels that enter the reduction the row
    offset varies fastest: (0, 0), (1, 0), (0, 1), (1, 1), as in the authors' weights.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = pad_to_multiple(x, (2, 2), first_axis=x.ndim - 3)
        corners = [x[..., row::2, column::2, :] for column, row in product((0, 1), repeat=2)]
        return self.norm(apply_linear(self.reduction, torch.cat(corners, dim=-1)))

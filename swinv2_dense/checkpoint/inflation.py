"""Weights of RGB images for other inputs: clips, and images of other channels.

A clip of identical frames gives the image model's features.

One more axis, time, comes first. A patch spreads its kernel evenly over its frames. The meta network of the position
bias does not see time: its time column is zero, so every frame of a window has the image's bias, and attention over t
copies of a window's tokens is attention over one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["adapt_channels", "inflate"]

_COORDINATES = re.compile(r"layers\.\d+\.blocks\.\d+\.attn\.cpb_mlp\.0\.weight")


def inflate(tensors: Mapping[str, Tensor], frames: int) -> dict[str, Tensor]:
    """2D -> 3D, the authors' names.

    ``patch_embed.proj.weight`` C x C_in x h x w -> C x C_in x ``frames`` x h x w, divided by ``frames``, and every
    ``cpb_mlp.0.weight`` 512 x 2 -> 512 x 3, a column of zeros first. The rest is as it was.
    """
    inflated = dict(tensors)
    patch = tensors["patch_embed.proj.weight"]
    inflated["patch_embed.proj.weight"] = patch[:, :, None].expand(-1, -1, frames, -1, -1) / frames
    for name, weight in tensors.items():
        if _COORDINATES.fullmatch(name):
            inflated[name] = torch.cat([torch.zeros_like(weight[:, :1]), weight], dim=1)
    return inflated


def adapt_channels(tensors: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """RGB -> images of ``channels`` channels, as timm does it.

    For one channel the three kernels are added, which gives a grey image the features of its RGB copy. For more they
    are repeated in turn and divided by ``channels`` / 3, which keeps the size of what they add up to.
    """
    adapted = dict(tensors)
    weight = tensors["patch_embed.proj.weight"]
    if channels == 1:
        adapted["patch_embed.proj.weight"] = weight.sum(1, keepdim=True)
    else:
        repeats = -(-channels // 3)
        adapted["patch_embed.proj.weight"] = torch.cat([weight] * repeats, dim=1)[:, :channels] * (3 / channels)
    return adapted

"""Image weights for a video model, such that a clip of identical frames gives the image model's features.

One more axis, time, comes first. A patch spreads its kernel evenly over its frames. The meta network of the position
bias does not see time: its time column is zero, so every frame of a window has the image's bias, and attention over t
copies of a window's tokens is attention over one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["inflate"]

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

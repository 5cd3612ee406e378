"""Image weights -> video weights: the kernel's mean over time, a meta network blind to time, the rest untouched."""

from __future__ import annotations

import torch

from swinv2_dense.checkpoint.inflation import inflate
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2

ARCH = dict(embed_dims=16, depths=[1, 1], num_heads=[1, 2])


def test_shapes_are_the_video_models_and_only_two_kinds_of_weight_change() -> None:
    image = SwinTransformerV2(ARCH, out_indices=(0, 1)).state_dict()
    video = VideoSwinTransformerV2(ARCH, patch_size=(4, 4, 4), out_indices=(0, 1)).state_dict()
    inflated = inflate(image, frames=4)
    changed = {name for name in image if inflated[name].shape != image[name].shape}
    assert changed == {"patch_embed.proj.weight", *(f"layers.{s}.blocks.0.attn.cpb_mlp.0.weight" for s in (0, 1))}
    for name in changed:
        assert inflated[name].shape == video[name].shape
    assert all(torch.equal(inflated[name], image[name]) for name in set(image) - changed)
    patch = inflated["patch_embed.proj.weight"]
    torch.testing.assert_close(patch.sum(2), image["patch_embed.proj.weight"])
    assert torch.equal(patch[:, :, 0], patch[:, :, 3])
    assert not inflated["layers.0.blocks.0.attn.cpb_mlp.0.weight"][:, 0].any()

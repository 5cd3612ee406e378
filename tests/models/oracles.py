"""Small random models of the other SwinV2 implementations, and ours with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ARCH: dict[str, Any] = dict(embed_dims=32, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8])
Features = Callable[[Tensor], list[Tensor]]


def randomize(model: nn.Module) -> nn.Module:
    """Weights that leave no part without influence (post-norms begin at zero, the meta network near it)."""
    for name, p in model.named_parameters():
        if p.ndim <= 1:
            nn.init.normal_(p, mean=1.0 if "norm" in name and name.endswith("weight") else 0.0, std=0.2)
        elif "cpb_mlp" in name or "continuous_position_bias" in name:
            nn.init.normal_(p, std=0.2)
        elif "logit_scale" in name:
            nn.init.uniform_(p, 1.0, 5.0)
    return model.eval()


def _plain_norm(maps: list[Tensor], norm: nn.LayerNorm) -> list[Tensor]:
    """Stage outputs B x C x H x W, normalised as ours: the last by the classifier's norm, the others plainly."""
    tokens = [m.movedim(1, -1) for m in maps]
    tokens = [*(F.layer_norm(t, t.shape[-1:]) for t in tokens[:-1]), norm(tokens[-1])]
    return [t.movedim(-1, 1) for t in tokens]


def timm_model(size: tuple[int, int], window: int, pretrained: list[int]) -> tuple[nn.Module, Features]:
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    model = SwinTransformerV2(
        img_size=size,
        window_size=window,
        num_classes=7,
        embed_dim=ARCH["embed_dims"],
        depths=tuple(ARCH["depths"]),
        num_heads=tuple(ARCH["num_heads"]),
        pretrained_window_sizes=tuple(pretrained),
    )
    randomize(model)
    return model, lambda x: _plain_norm(model.forward_intermediates(x, intermediates_only=True), model.norm)


def mmpretrain_model(size: tuple[int, int], window: list[int], pretrained: list[int]) -> tuple[nn.Module, Features]:
    from mmpretrain.models.backbones import SwinTransformerV2

    arch = {**ARCH, "extra_norm_every_n_blocks": 2}
    model = SwinTransformerV2(
        arch=arch, img_size=size, window_size=window, pretrained_window_sizes=pretrained, out_indices=(0, 1, 2, 3)
    )
    randomize(model)
    return model, lambda x: list(model(x))


def huggingface_model(size: tuple[int, int], window: int, pretrained: list[int]) -> tuple[nn.Module, Features]:
    from transformers import Swinv2Backbone, Swinv2Config

    config = Swinv2Config(
        image_size=size,
        window_size=window,
        embed_dim=ARCH["embed_dims"],
        depths=ARCH["depths"],
        num_heads=ARCH["num_heads"],
        pretrained_window_sizes=pretrained,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    model = Swinv2Backbone(config)
    norm = nn.LayerNorm(8 * ARCH["embed_dims"])
    model.add_module("layernorm", norm)  # a classifier's last norm, which the backbone class lacks
    randomize(model)
    return model, lambda x: _plain_norm(list(model(x).feature_maps), norm)


@torch.no_grad()
def relative_error(ours: tuple[Tensor, ...], theirs: list[Tensor]) -> float:
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(ours, theirs, strict=True))

"""A classifier of drawn images: what stands in for ImageNet pre-training, saved as the authors save theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.checkpoint import convert
from swinv2_dense.demo.console import Advance
from swinv2_dense.models import SwinTransformerV2

__all__ = ["Classifier", "Draw", "pretrain"]

# Takes a generator and the side in pixels; returns an image (uint8, side x side x 3, BGR) and its class.
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, int]]

# RGB, as in every config's data_preprocessor: every task feeds the backbone the same numbers.
_MEAN, _STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


class Classifier(nn.Module):
    """The backbone's last features, averaged over the map, and a linear layer: B x 3 x H x W -> B x classes."""

    def __init__(self, arch: Mapping[str, Any], window_size: list[int], classes: int) -> None:
        super().__init__()
        last = len(arch["depths"]) - 1
        self.backbone = SwinTransformerV2(arch, window_size=window_size, drop_path_rate=0.0, out_indices=(last,))
        self.head = nn.Linear(self.backbone.num_features[last], classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[0].mean(dim=(2, 3)))


def pretrain(
    path: Path,
    arch: Mapping[str, Any],
    draw: Draw,
    *,
    classes: int,
    side: int,
    window_size: list[int],
    iterations: int,
    seed: int,
    advance: Advance,
    batch: int = 32,
    lr: float = 2e-3,
) -> tuple[Classifier, float]:
    """Train on images of ``side`` pixels, each drawn once, and write ``path`` in the layout of the authors' releases.

    Args:
        window_size: tokens, of each stage; no larger than the stage's map, as the authors clamp it.

    Returns:
        The classifier, in eval mode, and the share of 400 further images that it gets right.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 2])
    model = Classifier(arch, window_size, classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(iterations, 2), pct_start=0.15)
    for iteration in range(iterations):
        images, labels = _draw_batch(draw, rng, batch, side)
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)  # the authors' value
        optimizer.step()
        schedule.step()
        advance(iteration + 1, f"loss {loss.item():.2f}")

    model.eval()
    with torch.inference_mode():
        images, labels = _draw_batch(draw, rng, 400, side)
        accuracy = (model(images).argmax(dim=1) == labels).float().mean().item()
    weights = {**model.backbone.state_dict(), "head.weight": model.head.weight, "head.bias": model.head.bias}
    convert(weights, path, "microsoft", window_size=window_size[0], image_size=side)
    return model, accuracy


def _draw_batch(draw: Draw, rng: np.random.Generator, count: int, side: int) -> tuple[Tensor, Tensor]:
    images, labels = zip(*(draw(rng, side) for _ in range(count)), strict=True)
    rgb = (np.stack(images)[..., ::-1] - _MEAN) / _STD
    return torch.from_numpy(rgb.transpose(0, 3, 1, 2).astype(np.float32)), torch.tensor(labels)

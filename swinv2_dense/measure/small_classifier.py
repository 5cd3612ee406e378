"""A classifier small enough to train on a CPU in minutes, and its training loop, for experiments.

Everything fits in memory: images are uint8 tensors N x 3 x S x S, and random crops are one ``grid_sample`` a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from swinv2_dense.engine.optimizers.layer_decay import without_decay
from swinv2_dense.errors import UserError
from swinv2_dense.files import open_regular
from swinv2_dense.models import SwinTransformerV2
from swinv2_dense.suffixes import IMAGES

__all__ = ["Classifier", "Images", "Training", "accuracy", "fit", "read_images", "read_splits"]

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Images:
    """``pixels``: uint8, N x 3 x S x S, RGB. ``labels``: N. ``classes``: names of the folders, sorted."""

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def resized(self, side: int) -> Images:
        """The same at S = ``side``, with antialiasing."""
        if self.pixels.shape[-1] == side:
            return self
        parts = [
            F.interpolate(part.float(), (side, side), mode="bicubic", antialias=True).round_().clamp_(0, 255).byte()
            for part in self.pixels.split(256)
        ]
        return Images(torch.cat(parts), self.labels, self.classes)

    def subset(self, fraction: float, seed: int = 0) -> Images:
        """A share of every class, at least one image each."""
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(seed))
        chosen = []
        for c in range(len(self.classes)):
            of_class = order[self.labels[order] == c]
            chosen.append(of_class[: max(1, round(fraction * len(of_class)))])
        rows = torch.cat(chosen)
        return Images(self.pixels[rows], self.labels[rows], self.classes)


def read_images(folder: Path, side: int) -> Images:
    """The images of a folder of class folders, each its central square at ``side`` pixels.

    Raises:
        UserError: no class folders, a folder without images, or an image that cannot be read.
    """
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if len(classes) < 2:
        raise UserError(f"{folder} holds {len(classes)} class folders: give a folder with one folder per class")
    pixels, labels = [], []
    for label, name in enumerate(classes):
        paths = sorted(path for path in Path(folder, name).iterdir() if path.suffix.lower() in IMAGES)
        if not paths:
            raise UserError(f"{folder / name} holds no images ({', '.join(IMAGES)})")
        for path in paths:
            pixels.append(_square(path, side))
            labels.append(label)
    return Images(
        torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels), (*classes,)
    )


def read_splits(folder: Path, side: int) -> tuple[Images, Images]:
    """The images of ``folder``/train and ``folder``/val.

    Raises:
        UserError: as of :func:`read_images`, or the two have other classes.
    """
    train, test = (read_images(folder / split, side) for split in ("train", "val"))
    if only := sorted(set(train.classes) ^ set(test.classes)):
        raise UserError(f"{folder}: train and val must have the same class folders; only one has {only[0]}")
    return train, test


def _square(path: Path, side: int) -> np.ndarray:
    with open_regular(path, "image") as file:
        try:
            image = Image.open(file).convert("RGB")
        except OSError as error:
            raise UserError(f"image {path} cannot be decoded ({error}): replace or remove it") from error
    short, (left, top) = min(image.size), ((n - min(image.size)) // 2 for n in image.size)
    box = (left, top, left + short, top + short)
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box=box))


class Classifier(nn.Module):
    """A SwinV2 and a linear layer on the mean of its last map."""

    def __init__(self, classes: int, **backbone: Any) -> None:
        super().__init__()
        stages = len(backbone["arch"]["depths"])
        self.backbone = SwinTransformerV2(out_indices=stages - 1, **backbone)
        self.head = nn.Linear(self.backbone.num_features[-1], classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """B x 3 x H x W -> B x classes, logits."""
        features = self.backbone(x)
        assert isinstance(features, Tensor)
        return self.head(features.mean((-2, -1)))


def normalised(pixels: Tensor) -> Tensor:
    """uint8 or float pixels, B x 3 x H x W -> normalised float32."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    return (pixels.float() - mean) / std


def random_crops(pixels: Tensor, side: int, scale: tuple[float, float], generator: torch.Generator) -> Tensor:
    """A random square of every image, of ``scale`` of its area, flipped or not, at ``side`` pixels; normalised."""
    n = len(pixels)
    u = torch.rand(n, 4, generator=generator)
    half = (scale[0] + (scale[1] - scale[0]) * u[:, 0]).sqrt()
    flip = torch.where(u[:, 1] < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = half * flip, half
    theta[:, :, 2] = (1 - half)[:, None] * (2 * u[:, 2:] - 1)
    grid = F.affine_grid(theta, [n, 3, side, side], align_corners=False)
    return F.grid_sample(normalised(pixels), grid, padding_mode="reflection", align_corners=False)


@dataclass(frozen=True)
class Training:
    """A schedule: AdamW, cosine decay to zero, linear warm-up; ``epochs`` and ``warmup`` may be fractions."""

    epochs: float
    lr: float
    warmup: float = 0.0
    batch: int = 32
    weight_decay: float = 0.05
    clip: float = 5.0
    label_smoothing: float = 0.1
    scale: tuple[float, float] = (0.35, 1.0)


def _batches(n: int, batch: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(n, generator=generator)])
        yield order[:batch]
        order = order[batch:]


def fit(model: nn.Module, images: Images, side: int, training: Training, seed: int) -> list[float]:
    """Train a classifier on crops of ``side`` pixels; returns the loss of every step."""
    generator = torch.Generator().manual_seed(seed)
    per_epoch = len(images.labels) / training.batch
    steps, warmup = max(1, round(training.epochs * per_epoch)), round(training.warmup * per_epoch)
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in named if not without_decay(n, p)], "weight_decay": training.weight_decay},
        {"params": [p for n, p in named if without_decay(n, p)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=training.lr)
    losses = []
    model.train()
    torch.manual_seed(seed)  # drop path
    batches = _batches(len(images.labels), min(training.batch, len(images.labels)), steps, generator)
    for step, rows in enumerate(batches):
        if step < warmup:
            rate = (step + 1) / (warmup + 1)
        else:
            rate = 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / max(1, steps - warmup))
        for group in optimizer.param_groups:
            group["lr"] = training.lr * rate
        x = random_crops(images.pixels[rows], side, training.scale, generator)
        loss = F.cross_entropy(model(x), images.labels[rows], label_smoothing=training.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def accuracy(model: nn.Module, images: Images, batch: int = 50) -> float:
    """Top-1 of whole images, in per cent."""
    model.eval()
    right = 0
    for pixels, labels in zip(images.pixels.split(batch), images.labels.split(batch), strict=True):
        right += int((model(normalised(pixels)).argmax(1) == labels).sum())
    return 100 * right / len(images.labels)

"""Writing a checkpoint as a publisher would: names, layout and, where it stores them, coordinate tables."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from swinv2_dense.checkpoint.reading import Source, read
from swinv2_dense.checkpoint.renaming import Weights, from_authors, to_authors
from swinv2_dense.checkpoint.summary import image_size_of
from swinv2_dense.checkpoint.window_transfer import (
    Anatomy,
    Geometry,
    Window,
    anatomy,
    clamped,
    find_geometry,
    windows_per_stage,
)
from swinv2_dense.errors import UserError
from swinv2_dense.files import write_torch, writing, writing_folder
from swinv2_dense.layers.log_cpb import log_coordinates

__all__ = ["TARGETS", "convert", "position_index", "shift_mask"]

TARGETS = ("microsoft", "timm", "huggingface", "mmpretrain", "torchvision")

_MAX_BUFFERS = 1 << 30  # bytes of indices and masks; the largest published model has 40 MiB of them


def convert(
    source: Source,
    out: str | os.PathLike[str],
    to: str,
    *,
    window_size: int | Window | None = None,
    image_size: int | Window | None = None,
    pretrained_window_size: Any = None,
    trust: bool = False,
) -> list[str]:
    """Write a checkpoint in another publisher's layout, with its head if it has one.

    Args:
        source: as :func:`swinv2_dense.checkpoint.read` takes it; of a detector's checkpoint the backbone is written.
        out: a file; for 'huggingface' a folder, which gets config.json and model.safetensors.
        to: 'microsoft', 'timm', 'huggingface', 'mmpretrain' or 'torchvision'.
        window_size: tokens, of the classifier to write; by default the source's.
        image_size: pixels, likewise; by default the one whose last stage is one window.
        pretrained_window_size: for a source that does not say it.
        trust: allow a pickle to run its code.

    Returns:
        Names of weights that the layout has no place for: norms of earlier stages, detector heads and the like.

    Raises:
        UserError: unreadable, not representable in the layout, unknown windows, or ``out`` cannot be written.
    """
    if to not in TARGETS:
        raise UserError(f"to={to!r}: choose one of {', '.join(TARGETS)}")
    checkpoint = read(source, trust=trust)
    weights = to_authors(checkpoint.state_dict, prefer="backbone.", source=checkpoint.source)
    shape = anatomy(weights)
    stages, rank = len(shape.depths), len(shape.patch_size)
    if rank != 2:
        raise UserError(f"checkpoint {checkpoint.source} has {rank} axes: {to}'s layout is of images")
    argument = pretrained_window_size
    if argument is not None:
        argument = windows_per_stage(argument, stages, rank, "pretrained_window_size")
    geometry = find_geometry(weights, checkpoint.name, checkpoint.config, argument, checkpoint.training)
    if geometry is None:
        raise UserError(
            f"nothing says what the pre-training window of {checkpoint.source} is: give pretrained_window_size"
        )
    geometry, image = _aimed(geometry, shape, window_size, image_size)

    left = [name for name in weights.tensors if name.startswith("norm") and not name.startswith("norm.")]
    weights.tensors = {name: tensor.contiguous() for name, tensor in weights.tensors.items() if name not in left}
    buffers: dict[str, Tensor] = {}
    if to in ("microsoft", "mmpretrain", "torchvision"):
        buffers = _buffers(shape, geometry, image if to == "microsoft" else None)
    if to == "torchvision":
        buffers = _as_torchvision(buffers, geometry.windows or geometry.pretrained)
    tensors = from_authors(weights, to, buffers)
    path = Path(out)
    if to == "huggingface":
        config = _huggingface_config(weights, shape, geometry, image)
        with writing_folder(path) as folder:
            _save_safetensors(tensors, folder / "model.safetensors")
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    elif path.suffix == ".safetensors":
        with writing(path) as place:
            _save_safetensors(tensors, place)
    else:
        contents: dict[str, dict[str, Any]] = {
            "microsoft": {"model": tensors},
            "timm": tensors,
            "torchvision": tensors,
            "mmpretrain": {"meta": {}, "state_dict": tensors},
        }
        write_torch(path, contents[to])
    return left + [key for kind, keys in weights.dropped.items() if kind != "head" for key in keys] + weights.unexpected


def _aimed(
    geometry: Geometry, shape: Anatomy, window_size: int | Window | None, image_size: int | Window | None
) -> tuple[Geometry, Window]:
    """The windows to write, and the size in pixels of the images that the classifier takes."""
    windows, patch, stages = geometry.windows or geometry.pretrained, shape.patch_size, len(shape.depths)
    image = image_size_of(windows, patch) if image_size is None else _pair(image_size, "image_size")
    if window_size is not None or image_size is not None:
        window = windows[0] if window_size is None else _pair(window_size, "window_size")
        windows = clamped(window, image, patch, stages)
    if any(i % (p * 2 ** (stages - 1)) for i, p in zip(image, patch, strict=True)):
        raise UserError(f"image_size={image}: give a multiple of {patch[0] * 2 ** (stages - 1)} pixels")
    return replace(geometry, windows=windows), image


def _pair(value: int | Window, key: str) -> Window:
    return windows_per_stage(value, 1, 2, key)[0]


def _grid(image: Window, shape: Anatomy, stage: int) -> Window:
    return tuple(i // (p * 2**stage) for i, p in zip(image, shape.patch_size, strict=True))


def _buffers(shape: Anatomy, geometry: Geometry, image: Window | None) -> dict[str, Tensor]:
    """The buffers that the authors' and MMPretrain's modules save; with ``image`` also the masks of shifted windows."""
    out: dict[str, Tensor] = {}
    size = _size_of_buffers(shape, geometry.windows or geometry.pretrained, image)
    if size > _MAX_BUFFERS:
        raise UserError(
            f"windows of {geometry.windows or geometry.pretrained} tokens need {size / 2**30:,.0f} GiB of indices and "
            "masks in this layout: give a smaller window_size or image_size, or convert to timm or huggingface"
        )
    for s, depth in enumerate(shape.depths):
        window = (geometry.windows or geometry.pretrained)[s]
        grid = image and _grid(image, shape, s)
        if grid and any(g % w for g, w in zip(grid, window, strict=True)):
            raise UserError(
                f"stage {s} has {grid} tokens, which windows of {window} do not divide, as the authors' code needs: "
                "give window_size and image_size that do"
            )
        table, index = log_coordinates(window, geometry.pretrained[s])[None], position_index(window)
        for b in range(depth):
            name = f"layers.{s}.blocks.{b}"
            out[f"{name}.attn.relative_coords_table"] = table.clone()
            out[f"{name}.attn.relative_position_index"] = index.clone()
            if grid is not None and b % 2 and min(grid) > min(window):
                out[f"{name}.attn_mask"] = shift_mask(grid, window)
    return out


def _size_of_buffers(shape: Anatomy, windows: tuple[Window, ...], image: Window | None) -> int:
    """Bytes of the indices (8 a pair of tokens) and, with ``image``, of every second block's mask (4 a pair)."""
    size = 0
    for s, (depth, window) in enumerate(zip(shape.depths, windows, strict=True)):
        tokens = math.prod(window)
        size += depth * tokens**2 * 8
        if image is not None:
            size += depth // 2 * math.prod(_grid(image, shape, s)) * tokens * 4
    return size


def _as_torchvision(buffers: dict[str, Tensor], windows: tuple[Window, ...]) -> dict[str, Tensor]:
    """torchvision's models have one window in all stages, and keep the index flat."""
    if len(set(windows)) > 1:
        raise UserError(
            f"windows {windows}: torchvision's models have one window in all stages; give window_size and an "
            "image_size whose last stage is at least one window"
        )
    return {
        name: value.flatten() if name.endswith("relative_position_index") else value for name, value in buffers.items()
    }


def position_index(window: Window) -> Tensor:
    """Row of the flattened (2h - 1) x (2w - 1) table for every pair of tokens of an h x w window, N x N."""
    h, w = window
    y, x = (axis.flatten() for axis in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
    dy, dx = y[:, None] - y + h - 1, x[:, None] - x + w - 1
    return dy * (2 * w - 1) + dx


def shift_mask(grid: Window, window: Window) -> Tensor:
    """The authors' mask for half-shifted windows of a grid of tokens, windows x N x N: -100 between tokens that only
    the cyclic shift made neighbours."""
    (h, w), (rows, columns) = window, grid
    # a token belongs to the interior (0), the last full window before the seam (1), or beyond the seam (2)
    y = (torch.arange(rows) >= rows - h).int() + (torch.arange(rows) >= rows - h // 2).int()
    x = (torch.arange(columns) >= columns - w).int() + (torch.arange(columns) >= columns - w // 2).int()
    region = (3 * y[:, None] + x).float()
    # windows x N
    region = region.unflatten(1, (-1, w)).unflatten(0, (-1, h)).transpose(1, 2).flatten(0, 1).flatten(1)
    return (region[:, None] != region[:, :, None]).float() * -100.0


def _huggingface_config(weights: Weights, shape: Anatomy, geometry: Geometry, image: Window) -> dict[str, Any]:
    windows = geometry.windows or geometry.pretrained
    window = max(max(w) for w in windows)
    if clamped((window, window), image, shape.patch_size, len(windows)) != windows or image[0] != image[1]:
        raise UserError(
            f"windows {windows} at {image} pixels: HuggingFace's configuration has one square window and image; "
            "give window_size and image_size"
        )
    labels = {str(i): f"LABEL_{i}" for i in range(shape.num_classes)}
    return {
        "architectures": ["Swinv2ForImageClassification" if weights.head else "Swinv2Model"],
        "model_type": "swinv2",
        "image_size": image[0],
        "patch_size": shape.patch_size[0],
        "num_channels": shape.in_channels,
        "embed_dim": shape.embed_dims,
        "depths": list(shape.depths),
        "num_heads": list(shape.num_heads),
        "window_size": window,
        "pretrained_window_sizes": [p[0] for p in geometry.pretrained],
        "mlp_ratio": shape.mlp_ratio,
        "qkv_bias": shape.qkv_bias,
        **({"id2label": labels, "label2id": {v: int(k) for k, v in labels.items()}} if labels else {}),
    }


def _save_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})

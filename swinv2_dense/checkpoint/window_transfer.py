"""Which windows the weights of a checkpoint were pre-trained and used with (section 3.3 of the paper).

A SwinV2's position bias is a function of offsets measured in units of the *pre-training* window. On another window the
unit must stay, so it has to be known. It is looked for, in this order, in what our own files save, the coordinate
tables, config.json, the publisher's name of the model, and the caller's argument.

Windows are tokens per axis, one tuple a stage; sizes of images are pixels per axis.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from swinv2_dense.checkpoint.publishers import Weights
from swinv2_dense.errors import UserError
from swinv2_dense.layers.log_cpb import log_coordinates

__all__ = ["Anatomy", "Geometry", "Window", "anatomy", "clamped", "find_geometry", "solve_table", "windows_per_stage"]

Window = tuple[int, ...]

# "swinv2_base_patch4_window12to24_192to384_22kto1k_ft", timm's and HuggingFace's spellings of it
_NAMED = re.compile(r"swin_?v2.*?window(?P<pre>\d+)(?:to(?P<w>\d+))?[_-](?P<pre_px>\d+)(?:to(?P<px>\d+))?")
# MMPretrain's "swinv2-base-w24_in21k-pre_3rdparty_in1k-384px", in21k-pre being its word for 12to..., 192to...
_NAMED_MMPRETRAIN = re.compile(r"swin_?v2-\w+?-w(?P<w>\d+)(?P<pre>_in21k-pre)?_.*?-(?P<px>\d+)px")


@dataclass(frozen=True)
class Anatomy:
    """What the shapes of weights tell; ``patch_size`` in pixels per axis, ``num_heads`` and ``depths`` per stage."""

    embed_dims: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    in_channels: int
    patch_size: Window
    mlp_ratio: float
    qkv_bias: bool
    num_classes: int

    def __str__(self) -> str:
        return f"embed_dims {self.embed_dims}, depths {self.depths}, num_heads {self.num_heads}"


def anatomy(weights: Weights) -> Anatomy:
    """The architecture of some weights."""
    projection = weights.tensors["patch_embed.proj.weight"]
    block = "layers.0.blocks.0."
    try:
        return Anatomy(
            embed_dims=projection.shape[0],
            depths=weights.depths,
            num_heads=tuple(
                weights.tensors[f"layers.{s}.blocks.0.attn.logit_scale"].shape[0] for s in range(len(weights.depths))
            ),
            in_channels=projection.shape[1],
            patch_size=tuple(projection.shape[2:]),
            mlp_ratio=weights.tensors[f"{block}mlp.fc1.weight"].shape[0] / projection.shape[0],
            qkv_bias=f"{block}attn.q_bias" in weights.tensors,
            num_classes=weights.head["head.weight"].shape[0] if "head.weight" in weights.head else 0,
        )
    except KeyError as error:
        raise UserError(f"the checkpoint is not a complete SwinV2: {error.args[0]} is missing") from None


@dataclass(frozen=True)
class Geometry:
    """``pretrained``: the window whose unit the position bias is measured in. ``windows``: the one last used, None
    where nothing tells. ``source``: what told, in words."""

    pretrained: tuple[Window, ...]
    windows: tuple[Window, ...] | None
    source: str


def clamped(window: Window, image: Window, patch: Window, stages: int) -> tuple[Window, ...]:
    """Windows of a classifier: no larger than the map of the stage, ``image / (patch * 2^s)`` tokens."""
    return tuple(
        tuple(min(w, i // (p * 2**s)) for w, i, p in zip(window, image, patch, strict=True)) for s in range(stages)
    )


def windows_per_stage(value: Any, stages: int, rank: int, key: str) -> tuple[Window, ...]:
    """An int, a window of ``rank`` ints, or one of these per stage -> a window for every stage."""
    per_stage = [value] * stages
    if isinstance(value, Sequence) and not (len(value) == rank and all(isinstance(v, int) for v in value)):
        per_stage = list(value)
    windows = [(v,) * rank if isinstance(v, int) else tuple(v) if isinstance(v, Sequence) else () for v in per_stage]
    if len(windows) != stages or any(len(w) != rank or any(type(n) is not int or n < 1 for n in w) for w in windows):
        raise UserError(
            f"{key}={value!r}: give a number of tokens, {rank} of them (one an axis) or {stages} of these (one a stage)"
        )
    return tuple(windows)


def solve_table(table: Tensor) -> tuple[Window, Window]:
    """Window and pre-training window of a stored ``relative_coords_table``, 1 x (2W_1 - 1) x ... x d.

    With r = (W - 1) / (W_pre - 1) its largest value on an axis is log2(1 + 8 r) / 3. A window of one token has only the
    offset 0, which tells no unit: its pre-training window is given as 1.

    Raises:
        UserError: no two windows give such a table.
    """
    window, pretrained = [], []
    rank = table.shape[-1]
    for axis in range(rank):
        w = (table.shape[1 + axis] + 1) // 2
        peak = table[..., axis].double().abs().max().item() if w > 1 else 0.0
        window.append(w)
        pretrained.append(1 + round(8 * (w - 1) / (2 ** (3 * peak) - 1)) if peak > 0 else 1)
    expected = log_coordinates(tuple(window), tuple(pretrained))
    # half precision rounds to 0.004 at most; the next window is further off. Windows of one may hold the NaN of 0 / 0.
    found = table[0].float().nan_to_num()
    if expected.shape != found.shape or not torch.allclose(found, expected, atol=8e-3, rtol=0):
        raise UserError(f"a relative_coords_table of shape {tuple(table.shape)} fits no pre-training window")
    return tuple(window), tuple(pretrained)


def _from_tables(weights: Weights, stages: int) -> Geometry | None:
    solved: dict[int, tuple[Window, Window]] = {}
    for name, table in weights.tables.items():
        stage = int(name.split(".")[1])
        answer = solve_table(table)
        if solved.setdefault(stage, answer) != answer:
            raise UserError(f"{name}: the blocks of stage {stage} were trained with different windows")
    if set(solved) != set(range(stages)):
        return None
    return Geometry(
        tuple(solved[s][1] for s in range(stages)), tuple(solved[s][0] for s in range(stages)), "its coordinate tables"
    )


def _pair(value: Any) -> Window:
    return (value, value) if isinstance(value, int) else tuple(value)


def _from_config(config: Mapping[str, Any] | None, patch: Window, stages: int) -> Geometry | None:
    """HuggingFace's config.json; a pre-training window of 0 means the window itself."""
    if config is None or "window_size" not in config or "image_size" not in config:
        return None
    windows = clamped(_pair(config["window_size"]), _pair(config["image_size"]), patch, stages)
    asked = [_pair(p) for p in config.get("pretrained_window_sizes") or [0] * stages]
    if len(asked) != stages:
        raise UserError(f"config.json: pretrained_window_sizes names {len(asked)} stages, the weights have {stages}")
    return Geometry(tuple(a if min(a) > 0 else w for a, w in zip(asked, windows, strict=True)), windows, "config.json")


def _from_name(name: str, patch: Window, stages: int) -> Geometry | None:
    if match := _NAMED.search(name):
        pre, pre_px = int(match["pre"]), int(match["pre_px"])
        w, px = int(match["w"] or pre), int(match["px"] or pre_px)
    elif match := _NAMED_MMPRETRAIN.search(name):
        w, px = int(match["w"]), int(match["px"])
        pre, pre_px = (12, 192) if match["pre"] else (w, px)
    else:
        return None
    pretrained = clamped(_pair(pre), _pair(pre_px), patch, stages)
    return Geometry(pretrained, clamped(_pair(w), _pair(px), patch, stages), f"its name ({match[0]})")


def find_geometry(
    weights: Weights,
    name: str = "",
    config: Mapping[str, Any] | None = None,
    argument: tuple[Window, ...] | None = None,
) -> Geometry | None:
    """The windows of a checkpoint, from the first of the sources above that tells; None if none does."""
    stages, patch = len(weights.depths), tuple(weights.tensors["patch_embed.proj.weight"].shape[2:])
    if set(weights.saved_windows) == set(range(stages)):
        saved = tuple(tuple(weights.saved_windows[s].tolist()) for s in range(stages))
        return Geometry(saved, None, "the weights, which saved it")
    found = _from_tables(weights, stages)
    if found is None and len(patch) == 2:  # configurations and names are of images
        found = _from_config(config, patch, stages) or _from_name(name, patch, stages)
    if found is None and argument is not None:
        found = Geometry(argument, None, "the argument pretrained_window_size")
    return found

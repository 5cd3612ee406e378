"""Which windows the weights of a checkpoint were pre-trained and used with (section 3.3 of the paper).

A SwinV2's position bias is a function of offsets measured in units of the *pre-training* window. On another window the
unit must stay, so it has to be known. It is looked for, in this order, in what our own files save, the coordinate
tables, what a training program saved beside the weights, config.json, the publisher's name of the model, and the
caller's argument: what lies inside a file goes before what it is called, which is easily changed.

Windows are tokens per axis, one tuple a stage; sizes of images are pixels per axis.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from swinv2_dense.checkpoint.renaming import Weights
from swinv2_dense.errors import UserError
from swinv2_dense.layers.log_cpb import log_coordinates

__all__ = [
    "Anatomy",
    "Geometry",
    "Window",
    "anatomy",
    "clamped",
    "find_geometry",
    "saved_window",
    "solve_table",
    "windows_per_stage",
]

Window = tuple[int, ...]

_MAX_WINDOW = 1024  # tokens; an image of 4096 pixels is one window then
_INT32 = 2**31 - 1  # any window beyond the map is one of the map's size, but is saved as it was given

# "swinv2_base_patch4_window12to24_192to384_22kto1k_ft", timm's and HuggingFace's spellings of it
_NAMED = re.compile(r"swin_?v2.*?window(?P<pre>\d+)(?:to(?P<w>\d+))?[_-](?P<pre_px>\d+)(?:to(?P<px>\d+))?")
# MMPretrain's "swinv2-base-w24_in21k-pre_3rdparty_in1k-384px", in21k-pre being its word for 12to..., 192to...
_NAMED_MMPRETRAIN = re.compile(r"swin_?v2-\w+?-w(?P<w>\d+)(?P<pre>_in21k-pre)?_.*?-(?P<px>\d+)px")
# The authors' SimMIM releases, "swinv2_huge_1kper20_500k", and "finetune_...", tuned at 224 pixels, name no window
_NAMED_SIMMIM = re.compile(r"(?P<tuned>finetune_)?swinv2_(?:small|base|large|huge|giant)_(?:1kper\d+|1k|22k)_\d+k")


@dataclass(frozen=True)
class Anatomy:
    """An architecture, from shapes; ``patch_size`` in pixels per axis, ``num_heads`` and ``depths`` per stage."""

    embed_dims: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    in_channels: int
    patch_size: Window
    mlp_ratio: float
    qkv_bias: bool
    num_classes: int
    extra_norm_every_n_blocks: int = 0

    def as_config(self) -> str:
        """The backbone's ``arch`` for these weights, to be copied into a config."""
        extra = self.extra_norm_every_n_blocks
        return (
            f"dict(embed_dims={self.embed_dims}, depths={self.depths}, num_heads={self.num_heads}"
            f"{f', extra_norm_every_n_blocks={extra}' if extra else ''})"
        )

    def __str__(self) -> str:
        return f"embed_dims {self.embed_dims}, depths {self.depths}, num_heads {self.num_heads}"


def anatomy(weights: Weights) -> Anatomy:
    """The architecture of some weights."""
    projection = weights.tensors["patch_embed.proj.weight"]
    block = "layers.0.blocks.0."
    extra = [int(match[1]) for name in weights.tensors if (match := re.search(r"blocks\.(\d+)\.norm3", name))]
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
            extra_norm_every_n_blocks=1 + min(extra, default=-1),
        )
    except KeyError as error:
        raise UserError(f"the checkpoint is not a complete SwinV2: {error.args[0]} is missing") from None


@dataclass(frozen=True)
class Geometry:
    """``pretrained``: the window whose unit the position bias is measured in. ``windows``: the one last used, None
    where nothing says. ``source``: where they were found, in words."""

    pretrained: tuple[Window, ...]
    windows: tuple[Window, ...] | None
    source: str


def clamped(window: Window, image: Window, patch: Window, stages: int) -> tuple[Window, ...]:
    """Windows of a classifier: no larger than the map of the stage, ``image / (patch * 2^s)`` tokens."""
    return tuple(
        tuple(min(w, i // (p * 2**s)) for w, i, p in zip(window, image, patch, strict=True)) for s in range(stages)
    )


def windows_per_stage(value: Any, stages: int, rank: int, key: str, unit: str = "tokens") -> tuple[Window, ...]:
    """An int, a window of ``rank`` ints, or one of these per stage -> a window for every stage."""
    per_stage = [value] * stages
    if isinstance(value, Sequence) and not (len(value) == rank and all(isinstance(v, int) for v in value)):
        per_stage = list(value)
    windows = [(v,) * rank if isinstance(v, int) else tuple(v) if isinstance(v, Sequence) else () for v in per_stage]
    if len(windows) != stages or any(
        len(w) != rank or any(type(n) is not int or not 1 <= n <= _INT32 for n in w) for w in windows
    ):
        more = f", {rank} of them (one an axis) or {stages} of these (one a stage)"
        more = f" or {rank} of them (one an axis)" if stages == 1 else more
        raise UserError(f"{key}={value!r}: give a number of {unit}{more}")
    return tuple(windows)


def solve_table(table: Tensor) -> tuple[Window, Window]:
    """Window and pre-training window of a stored ``relative_coords_table``, 1 x (2W_1 - 1) x ... x d.

    With r = (W - 1) / (W_pre - 1) its largest value on an axis is log2(1 + 8 r) / 3. A window of one token has only the
    offset 0, which has no unit: its pre-training window is given as 1.

    Raises:
        UserError: no two windows give such a table.
    """
    rank = table.shape[-1] if table.ndim else 0
    if (
        rank not in (2, 3)
        or table.ndim != rank + 2
        or table.shape[0] != 1
        or not table.is_floating_point()
        or not all(n % 2 and n < 2 * _MAX_WINDOW for n in table.shape[1:-1])
    ):
        raise UserError(f"a relative_coords_table of shape {tuple(table.shape)} fits no pre-training window")
    table = table.float().cpu()
    window, pretrained = [], []
    for axis in range(rank):
        w = (table.shape[1 + axis] + 1) // 2
        peak = table[..., axis].double().abs().max().item() if w > 1 else 0.0
        window.append(w)
        # 0.0056 is the peak of a window of 2 in one of 1024; beyond 5 there is nothing but damage, or NaN
        pretrained.append(1 + round(8 * (w - 1) / (2 ** (3 * peak) - 1)) if 1e-3 < peak < 5 else 1)
    expected = log_coordinates(tuple(window), tuple(min(n, _MAX_WINDOW) for n in pretrained))
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


def saved_window(value: Any, name: str, rank: int) -> Window:
    """A window of ``rank`` axes as a file saves it, in tokens.

    Raises:
        UserError: it is no window: names ``name``.
    """
    if not isinstance(value, Tensor) or value.is_floating_point() or value.shape != (rank,):
        shape = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"{name} is {shape}, not a window of {rank} whole numbers: the file is damaged")
    return _checked(tuple(value.tolist()), name)


def _checked(window: Any, name: str, least: int = 1, most: int = _MAX_WINDOW) -> Window:
    if not all(type(n) is int and least <= n <= most for n in window):
        raise UserError(f"{name} is {'x'.join(map(str, window))[:80]}: {least} to {most} per axis are possible")
    return tuple(window)


def _pair(value: Any, name: str, least: int = 1, most: int = _MAX_WINDOW) -> Window:
    """A number or two of a configuration, height and width."""
    pair = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value, value)
    if len(pair) != 2:
        raise UserError(f"{name} is {str(value)[:80]}: give a number or two of them")
    return _checked(pair, name, least, most)


_MAX_PIXELS = 1 << 20


def _from_config(config: Mapping[str, Any] | None, patch: Window, stages: int) -> Geometry | None:
    """HuggingFace's config.json, of the model or of the backbone in it; a pre-training window of 0 means the window."""
    if config is None:
        return None
    if isinstance(inner := config.get("backbone_config"), Mapping) and "window_size" not in config:
        config = inner  # UperNet, DPT, Mask2Former ...
    if "window_size" not in config or "image_size" not in config:
        return None
    image = _pair(config["image_size"], "config.json: image_size", most=_MAX_PIXELS)
    windows = clamped(_pair(config["window_size"], "config.json: window_size"), image, patch, stages)
    asked = config.get("pretrained_window_sizes") or [0]
    if not isinstance(asked, Sequence) or isinstance(asked, str):
        raise UserError(f"config.json: pretrained_window_sizes={str(asked)[:80]} is no list")
    asked = [_pair(window, "config.json: pretrained_window_sizes", least=0) for window in asked]
    if not any(map(any, asked)):
        asked = [(0, 0)] * stages  # the default, which names four stages whatever the model has
    if len(asked) != stages:
        raise UserError(f"config.json: pretrained_window_sizes names {len(asked)} stages, the weights have {stages}")
    return Geometry(tuple(a if min(a) > 0 else w for a, w in zip(asked, windows, strict=True)), windows, "config.json")


def _from_training(training: Mapping[str, Any], patch: Window, stages: int) -> Geometry | None:
    """timm's architecture, and the image and window that it was trained with where they are not its own.

    timm shrinks a window to the map it lies on, so weights tuned at 224 pixels have other windows than at 256. Only the
    architectures that were themselves transferred (window12to24) keep the window before.
    """
    match = _NAMED.search(str(training.get("architecture", "")).replace("timm/", ""))
    if match is None:
        return None
    pre, pre_px = _numbers(match, "pre"), _numbers(match, "pre_px")
    window = _pair(training.get("window_size") or _numbers(match, "w") or pre, "window_size in the checkpoint")
    pixels = _numbers(match, "px") or pre_px
    image = _pair(training.get("img_size") or pixels, "img_size in the checkpoint", most=_MAX_PIXELS)
    used = clamped(window, image, patch, stages)
    before = clamped((pre, pre), (pre_px, pre_px), patch, stages) if match["w"] else used
    return Geometry(before, used, f"the architecture in the checkpoint ({match[0]} at {image[0]} pixels)")


def _numbers(match: re.Match[str], group: str) -> int:
    """A number of a name, 0 where it has none."""
    return int(match[group] or 0) if len(match[group] or "") < 6 else 0


def _from_name(name: str, patch: Window, stages: int) -> Geometry | None:
    if match := _NAMED.search(name):
        pre, pre_px = _numbers(match, "pre"), _numbers(match, "pre_px")
        w, px = _numbers(match, "w") or pre, _numbers(match, "px") or pre_px
    elif match := _NAMED_MMPRETRAIN.search(name):
        w, px = _numbers(match, "w"), _numbers(match, "px")
        pre, pre_px = (12, 192) if match["pre"] else (w, px)
    elif match := _NAMED_SIMMIM.search(name):
        pre, pre_px = 12, 192
        w, px = (14, 224) if match["tuned"] else (12, 192)
    else:
        return None
    windows = [_pair(window, f"the window in the name {match[0]}") for window in (pre, w)]
    pixels = [_pair(size, f"the size in the name {match[0]}", most=_MAX_PIXELS) for size in (pre_px, px)]
    pretrained, used = (clamped(window, size, patch, stages) for window, size in zip(windows, pixels, strict=True))
    return Geometry(pretrained, used, f"its name ({match[0]})")


def find_geometry(
    weights: Weights,
    name: str = "",
    config: Mapping[str, Any] | None = None,
    argument: tuple[Window, ...] | None = None,
    training: Mapping[str, Any] = MappingProxyType({}),
) -> Geometry | None:
    """The windows of a checkpoint, from the first of the sources above that has them; None if none does."""
    stages, patch = len(weights.depths), tuple(weights.tensors["patch_embed.proj.weight"].shape[2:])
    if set(weights.saved_windows) == set(range(stages)):
        name_of = "layers.{}.pretrained_window_size".format
        saved = tuple(saved_window(weights.saved_windows[s], name_of(s), len(patch)) for s in range(stages))
        return Geometry(saved, None, "the weights, which saved it")
    found = _from_tables(weights, stages)
    if found is None and len(patch) == 2:  # configurations and names are of images
        found = (
            _from_training(training, patch, stages)
            or _from_config(config, patch, stages)
            or _from_name(name, patch, stages)
        )
    if found is None and argument is not None:
        found = Geometry(argument, None, "the argument pretrained_window_size")
    return found

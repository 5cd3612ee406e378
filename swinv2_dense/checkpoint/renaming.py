"""Weights of any publisher in the authors' names, and back: pure functions over the publishers' tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor

from swinv2_dense.checkpoint.publishers import PREFIXES, clean, identify, names_of, renamer, table_of, unflattened
from swinv2_dense.errors import UserError

__all__ = ["Weights", "check_finite", "from_authors", "to_authors"]


@dataclass
class Weights:
    """A SwinV2 in the authors' names.

    ``tensors``: parameters of the backbone, the last norm as ``norm``, those of earlier stages (if any) as ``norm{i}``.
    ``head``: ``head.weight``, ``head.bias`` of a classifier; ``head_keys``: the file's keys of these. ``tables``:
    relative_coords_table of each block.
    ``saved_windows``: pre-training window of each stage as our own files store it. ``other``: what the file holds
    beside the backbone, a head included, under its own names. ``dropped``: keys of the file that a backbone has no use
    for, by what they are; ``unexpected``: those nothing is known about. ``mask_token``: SimMIM's, 1 x 1 x C.
    """

    publisher: str
    prefix: str
    tensors: dict[str, Tensor]
    head: dict[str, Tensor] = field(default_factory=dict)
    head_keys: dict[str, str] = field(default_factory=dict)
    tables: dict[str, Tensor] = field(default_factory=dict)
    saved_windows: dict[int, Tensor] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    other: dict[str, Tensor] = field(default_factory=dict)
    mask_token: Tensor | None = None

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        blocks = [name.split(".") for name in self.tensors if name.endswith("attn.logit_scale")]
        stages = [int(parts[1]) for parts in blocks]
        return tuple(stages.count(stage) for stage in range(1 + max(stages, default=-1)))


def to_authors(state_dict: Mapping[str, object], prefer: str = "", source: str = "the state dict") -> Weights:
    """The weights of a state dict of any publisher; ``prefer`` as in :func:`identify`.

    What wrappers add to the names (``module.``, ``_orig_mod.`` ...) is left out.

    Raises:
        UserError: no SwinV2 or several, version 1, odd shapes, absolute position embeddings, a weight that is not
            finite; names the ``source`` or the key.
    """
    cleaned: dict[str, object] = {}
    for key, value in state_dict.items():
        if (name := clean(key)) in cleaned:
            raise UserError(f"checkpoint {source} holds {name} twice, once under a wrapper's name: give one model's")
        cleaned[name] = value
    identity = identify(cleaned, prefer)
    if identity is None:
        raise UserError(
            f"checkpoint {source} is not a SwinV2's: no patch_embed with cpb_mlp among its {len(state_dict)} keys"
        )
    publisher, prefix = identity
    weights = Weights(publisher, prefix, {})
    rename = renamer(names_of(publisher))
    for key, value in cleaned.items():
        if isinstance(value, Tensor):
            _sort_in(weights, key, value.detach(), rename)
    if publisher == "huggingface":
        weights.tensors = _merge_qkv(weights.tensors)
    if publisher == "mmpretrain":
        weights.tensors = _permute_reductions(weights.tensors, to_authors=True)
    if publisher == "torchvision":
        weights.tensors = _split_bias(weights.tensors)
    _rename_norm(weights.tensors, f"norm{len(weights.depths) - 1}", "norm")
    return weights


# How many dimensions the weights have whose shape is looked at before it is compared with a model's.
_DIMENSIONS = {
    "patch_embed.proj.weight": (4, 5),
    **{
        f"attn.{name}": (2,)
        for name in ("qkv.weight", "q.weight", "k.weight", "v.weight", "cpb_mlp.0.weight", "cpb_mlp.2.weight")
    },
    **{"attn.qkv.bias": (1,), "attn.logit_scale": (3,), "mlp.fc1.weight": (2,), "downsample.reduction.weight": (2,)},
    **{"head.weight": (2,), "head.bias": (1,)},
}


def _check_shape(key: str, authors: str, value: Tensor) -> None:
    for ending, dimensions in _DIMENSIONS.items():
        if authors.endswith(ending) and (value.ndim not in dimensions or 0 in value.shape):
            raise UserError(f"{key} has the shape {tuple(value.shape)}, which no SwinV2's has: the file is damaged")
    if authors.endswith("downsample.reduction.weight") and value.shape[1] % 4:
        raise UserError(f"{key} has the shape {tuple(value.shape)}: patch merging takes four neighbours at once")


def _sort_in(weights: Weights, key: str, value: Tensor, rename: Callable[[str], str | None]) -> None:
    """Put one tensor of a file where it belongs in ``weights``."""
    inside = key.startswith(weights.prefix)
    name = key[len(weights.prefix) :] if inside else key
    if weights.publisher == "timm":
        name = unflattened(name)
    name = name.replace(".rpe_mlp.", ".cpb_mlp.")  # its name in the SimMIM weights that the authors released
    authors = name if inside and re.fullmatch(r"norm[0-9]{1,4}\.(weight|bias)", name) else rename(name)
    if authors is not None:
        _check_shape(key, authors, value)
    if authors is not None and authors.startswith("head."):
        weights.head[authors] = weights.other[key] = value
        weights.head_keys[key] = authors
        weights.dropped.setdefault("head", []).append(key)
    elif not inside:
        weights.other[key] = value
        is_decoder = key.startswith(("decoder.", "neck.decoder."))
        weights.dropped.setdefault("decoder" if is_decoder else "beside the backbone", []).append(key)
    elif "absolute_pos_embed" in name or "position_embeddings" in name:
        raise UserError(f"{key}: absolute position embeddings, which this backbone does not have; take other weights")
    elif "mask_token" in name:
        weights.mask_token = value
        weights.dropped.setdefault("mask token", []).append(key)
    elif authors is None:
        weights.unexpected.append(key)
    elif authors.endswith("relative_coords_table"):
        weights.tables[authors] = value
    elif authors.endswith("pretrained_window_size"):
        weights.saved_windows[int(authors.split(".")[1])] = value
    elif authors.endswith("k_bias"):
        if not value.is_meta and value.any():
            raise UserError(f"{key} is not zero, but the keys of a SwinV2 have no bias: take other weights")
    elif not authors.endswith(("relative_position_index", "attn_mask")):
        if not value.is_floating_point():
            raise UserError(f"{key} is of type {value.dtype}, not of floating point: take weights not quantized")
        check_finite(key, value)
        weights.tensors[authors] = value


def check_finite(key: str, value: Tensor) -> None:
    """Refuse a weight with a number that is not finite, or not in the float32 that models have."""
    if value.is_floating_point() and not value.is_meta and not torch.isfinite(value.float()).all():
        raise UserError(f"{key} holds a number that is not finite: the file is damaged or its training diverged")


def from_authors(
    weights: Weights, publisher: str, buffers: Mapping[str, Tensor] = MappingProxyType({})
) -> dict[str, Tensor]:
    """A publisher's state dict, with the head where there is one ('ours' has none): the inverse of :func:`to_authors`.

    ``buffers``, in the authors' names, are what the publisher saves beside the parameters.

    Raises:
        UserError: the publisher's models lack a parameter of these weights (the extra norms of H and G).
    """
    table, last = table_of(publisher), len(weights.depths) - 1
    tensors = dict(weights.tensors)
    if publisher in ("ours", "mmpretrain"):
        _rename_norm(tensors, "norm", f"norm{last}")
    elif extra := [name for name in tensors if re.search(r"blocks\.\d+\.norm3", name)]:
        raise UserError(f"{extra[0]}: {publisher}'s models have no extra norms (SwinV2-H and -G); only mmpretrain's do")
    if publisher == "huggingface":
        tensors = _split_qkv(tensors)
    if publisher == "mmpretrain":
        tensors = _permute_reductions(tensors, to_authors=False)
    if publisher == "torchvision":
        tensors = _merge_bias(tensors)
    rename = renamer(table)
    prefix = PREFIXES.get(publisher, "") if weights.head or publisher == "mmpretrain" else ""
    out: dict[str, Tensor] = {}
    for name, value in {**tensors, **buffers}.items():
        out[prefix + (rename(name) or name)] = value
    if publisher != "ours":
        for name, value in weights.head.items():
            out[rename(name) or name] = value
    return out


def _rename_norm(tensors: dict[str, Tensor], old: str, new: str) -> None:
    for part in ("weight", "bias"):
        if f"{old}.{part}" in tensors:
            tensors[f"{new}.{part}"] = tensors.pop(f"{old}.{part}")


def _merge_qkv(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """attn.{q,k,v}.weight -> attn.qkv.weight, rows in this order."""
    out: dict[str, Tensor] = {}
    for name, value in tensors.items():
        stem = re.sub(r"attn\.[qkv]\.weight$", "attn.", name)
        if stem == name:
            out[name] = value
        elif name.endswith("attn.q.weight"):
            parts = [tensors.get(f"{stem}{part}.weight") for part in "qkv"]
            if any(part is None or part.shape != value.shape for part in parts):
                raise UserError(f"{stem}: query, key and value do not fit together: the file is damaged or incomplete")
            out[f"{stem}qkv.weight"] = torch.cat(cast(list[Tensor], parts))
    return out


def _split_bias(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """attn.qkv.bias -> attn.q_bias, attn.v_bias; torchvision's models set the keys' part to zero in every forward."""
    out: dict[str, Tensor] = {}
    for name, value in tensors.items():
        stem = name.removesuffix("qkv.bias")
        if stem == name:
            out[name] = value
        else:
            out[f"{stem}q_bias"], _, out[f"{stem}v_bias"] = value.chunk(3)
    return out


def _merge_bias(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out = {name: value for name, value in tensors.items() if not name.endswith(("q_bias", "v_bias"))}
    for name, value in tensors.items():
        if name.endswith("q_bias"):
            stem = name.removesuffix("q_bias")
            out[f"{stem}qkv.bias"] = torch.cat([value, torch.zeros_like(value), tensors[f"{stem}v_bias"]])
    return out


def _split_qkv(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, value in tensors.items():
        stem = name.removesuffix("qkv.weight")
        if stem == name:
            out[name] = value
        else:
            out |= {f"{stem}{part}.weight": rows.clone() for part, rows in zip("qkv", value.chunk(3), strict=True)}
    return out


def _permute_reductions(tensors: Mapping[str, Tensor], *, to_authors: bool) -> dict[str, Tensor]:
    """Patch merging sees 4C channels: the authors' are ordered (column, row, channel), those of MMPretrain, which uses
    ``nn.Unfold``, (channel, row, column)."""
    out = dict(tensors)
    for name, value in tensors.items():
        if name.endswith("downsample.reduction.weight"):
            sizes = (-1, 2, 2) if to_authors else (2, 2, -1)
            out[name] = value.unflatten(1, sizes).permute(0, 3, 2, 1).flatten(1)
    return out

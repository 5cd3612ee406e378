"""How each publisher names the weights of a SwinV2, in one table each, and pure functions between them.

The names in the middle are those of the authors' release, which are also ours but for the norms: the authors' ``norm``
is our ``norm{i}`` of the last stage, and only ours has norms of the earlier ones. A publisher's table lists what it
calls differently. ``{s}`` is a stage, ``{b}`` a block of it, ``{t}`` the stage after ``{s}``; torchvision counts blocks
and patch merging in one row, ``{o}`` = 2s + 1 and ``{e}`` = 2s + 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from swinv2_dense.errors import UserError

__all__ = ["HEADS", "PUBLISHERS", "Weights", "from_authors", "identify", "to_authors"]

PUBLISHERS = ("microsoft", "timm", "huggingface", "mmpretrain", "torchvision", "simmim", "ours")

_BLOCK = "layers.{s}.blocks.{b}"
_NAMES = (
    *("patch_embed.proj", "patch_embed.norm", "norm", "head"),
    *(f"{_BLOCK}.attn.{part}" for part in ("qkv", "q_bias", "v_bias", "logit_scale", "cpb_mlp.0", "cpb_mlp.2", "proj")),
    *(f"{_BLOCK}.attn.{part}" for part in ("cpb_mlp", "cpb_mlp.linear1", "cpb_mlp.linear2")),  # ours alone
    *(f"{_BLOCK}.{part}" for part in ("norm1", "norm2", "norm3", "mlp.fc1", "mlp.fc2")),
    *("layers.{s}.downsample.reduction", "layers.{s}.downsample.norm"),
)
# Rebuilt from the windows (or zero by construction), never loaded. The coordinate tables tell the windows.
_TABLE = f"{_BLOCK}.attn.relative_coords_table"
_BUFFERS = (_TABLE, f"{_BLOCK}.attn.relative_position_index", f"{_BLOCK}.attn_mask", f"{_BLOCK}.attn.k_bias")

_TIMM = {
    "head": "head.fc",
    "layers.{s}.downsample.reduction": "layers.{t}.downsample.reduction",
    "layers.{s}.downsample.norm": "layers.{t}.downsample.norm",
}
_HF = "encoder.layers.{s}.blocks.{b}"
_HUGGINGFACE = {
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "patch_embed.norm": "embeddings.norm",
    "norm": "layernorm",
    "head": "classifier",
    f"{_BLOCK}.attn.q_bias": f"{_HF}.attention.self.query.bias",
    f"{_BLOCK}.attn.k_bias": f"{_HF}.attention.self.key.bias",
    f"{_BLOCK}.attn.v_bias": f"{_HF}.attention.self.value.bias",
    f"{_BLOCK}.attn.logit_scale": f"{_HF}.attention.self.logit_scale",
    f"{_BLOCK}.attn.cpb_mlp.0": f"{_HF}.attention.self.continuous_position_bias_mlp.0",
    f"{_BLOCK}.attn.cpb_mlp.2": f"{_HF}.attention.self.continuous_position_bias_mlp.2",
    f"{_BLOCK}.attn.proj": f"{_HF}.attention.output.dense",
    f"{_BLOCK}.norm1": f"{_HF}.layernorm_before",
    f"{_BLOCK}.norm2": f"{_HF}.layernorm_after",
    f"{_BLOCK}.mlp.fc1": f"{_HF}.intermediate.dense",
    f"{_BLOCK}.mlp.fc2": f"{_HF}.output.dense",
    "layers.{s}.downsample.reduction": "encoder.layers.{s}.downsample.reduction",
    "layers.{s}.downsample.norm": "encoder.layers.{s}.downsample.norm",
    _TABLE: f"{_HF}.attention.self.relative_coords_table",
    f"{_BLOCK}.attn.relative_position_index": f"{_HF}.attention.self.relative_position_index",
    # not the authors': the parts that their qkv is made of
    **{
        f"{_BLOCK}.attn.{part}": f"{_HF}.attention.self.{name}"
        for part, name in {"q": "query", "k": "key", "v": "value"}.items()
    },
}
_MM = "stages.{s}.blocks.{b}"
_MMPRETRAIN = {
    "patch_embed.proj": "patch_embed.projection",
    "head": "head.fc",
    **{n: n.replace(f"{_BLOCK}.attn.", f"{_MM}.attn.w_msa.") for n in (*_NAMES, *_BUFFERS) if ".attn." in n},
    **{f"{_BLOCK}.norm{i}": f"{_MM}.norm{i}" for i in (1, 2, 3)},
    f"{_BLOCK}.mlp.fc1": f"{_MM}.ffn.layers.0.0",
    f"{_BLOCK}.mlp.fc2": f"{_MM}.ffn.layers.1",
    "layers.{s}.downsample.reduction": "stages.{t}.downsample.reduction",
    "layers.{s}.downsample.norm": "stages.{t}.downsample.norm",
}
_TORCHVISION = {
    "patch_embed.proj": "features.0.0",
    "patch_embed.norm": "features.0.2",
    **{n: n.replace(_BLOCK, "features.{o}.{b}") for n in (*_NAMES, *_BUFFERS) if n.startswith(_BLOCK)},
    f"{_BLOCK}.mlp.fc1": "features.{o}.{b}.mlp.0",
    f"{_BLOCK}.mlp.fc2": "features.{o}.{b}.mlp.3",
    "layers.{s}.downsample.reduction": "features.{e}.reduction",
    "layers.{s}.downsample.norm": "features.{e}.norm",
}
_OURS = {"layers.{s}.pretrained_window_size": "layers.{s}.pretrained_window_size"}
_TABLES: dict[str, dict[str, str]] = {
    "microsoft": {},
    "timm": _TIMM,
    "huggingface": _HUGGINGFACE,
    "mmpretrain": _MMPRETRAIN,
    "torchvision": _TORCHVISION,
    "simmim": {},
    "ours": _OURS,
}
# Where classifiers keep their head, by the authors' name for it: MMPretrain and timm, Hugging Face, the authors.
HEADS = {
    f"head.{part}": [f"{name}.{part}" for name in ("head.fc", "classifier", "head")] for part in ("weight", "bias")
}
# What the backbone's names begin with in a file of the publisher's that has a head.
_PREFIXES = {"huggingface": "swinv2.", "mmpretrain": "backbone."}


@dataclass
class Weights:
    """A SwinV2 in the authors' names.

    ``tensors``: parameters of the backbone, the last norm as ``norm``, those of earlier stages (if any) as ``norm{i}``.
    ``head``: ``head.weight``, ``head.bias`` of a classifier; ``head_keys``: the file's keys of these. ``tables``:
    relative_coords_table of each block.
    ``saved_windows``: pre-training window of each stage as our own files store it. ``other``: what the file holds
    beside the backbone, a head included, under its own names. ``dropped``: keys of the file that a backbone has no use
    for, by what they are; ``unexpected``: those nothing is known about.
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

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        blocks = [name.split(".") for name in self.tensors if name.endswith("attn.logit_scale")]
        stages = [int(parts[1]) for parts in blocks]
        return tuple(stages.count(stage) for stage in range(1 + max(stages, default=-1)))


def identify(state_dict: Mapping[str, object], prefer: str = "") -> tuple[str, str] | None:
    """Publisher of a state dict and the prefix of its backbone's names; None where no SwinV2 is in it.

    Of several SwinV2s the one under the prefix ``prefer`` is meant.

    Raises:
        UserError: several SwinV2s, or a Swin of version 1.
    """
    stems = {"patch_embed.proj": "layers.", "patch_embed.projection": "stages."}
    stems["embeddings.patch_embeddings.projection"] = "encoder.layers."
    stems["features.0.0"] = "features."
    found: dict[str, str] = {}
    for key in state_dict:
        for stem, stages in stems.items():
            prefix = key.removesuffix(f"{stem}.weight")
            if prefix != key and (not prefix or prefix.endswith(".")):
                names = {k[len(prefix) :] for k in state_dict if k.startswith(prefix)}
                if any(n.startswith(stages[:-1]) and _is_meta_network(n) for n in names):
                    found[prefix] = _family(names, stem, prefix)
    if not found and any("relative_position_bias_table" in key for key in state_dict):
        raise UserError(
            "the checkpoint is a Swin Transformer of version 1 (relative_position_bias_table, no cpb_mlp); "
            "give a SwinV2 checkpoint, or use mmdet's SwinTransformer"
        )
    if len(found) > 1 and prefer not in found:
        raise UserError(
            f"the checkpoint holds {len(found)} SwinV2 backbones ({', '.join(map(repr, sorted(found)))}): "
            "give a state dict with one of them"
        )
    prefix = prefer if prefer in found else next(iter(found), "")
    return (found[prefix], prefix) if found else None


def _is_meta_network(name: str) -> bool:
    return "cpb_mlp." in name or "continuous_position_bias_mlp." in name


def _family(names: set[str], stem: str, prefix: str) -> str:
    if stem != "patch_embed.proj":
        return {"patch_embed.projection": "mmpretrain", "features.0.0": "torchvision"}.get(stem, "huggingface")
    if "mask_token" in names or prefix == "encoder.":
        return "simmim"
    if "layers.0.pretrained_window_size" in names or any(re.match(r"norm\d", n) for n in names):
        return "ours"
    merging = {n.split(".")[1] for n in _unflattened(names) if re.match(r"layers\.\d+\.downsample", n)}
    # timm counts patch merging with the stage after it, so its first stage has none
    if "head.fc.weight" in names or (merging and "0" not in merging):
        return "timm"
    return "microsoft"


def _unflattened(names: set[str]) -> list[str]:
    return [re.sub(r"^layers_(\d+)", r"layers.\1", n) for n in names]  # as timm's features_only models are


def _renamer(table: Mapping[str, str]) -> Callable[[str], str | None]:
    """A function that renames by ``table`` (template -> template); None for a name that no template matches."""
    patterns = []
    for theirs, ours in table.items():
        # a {t} is one stage later than {s}, on either side
        pattern = re.sub(r"\\{([stboe])\\}", r"(?P<\1>\\d+)", re.escape(theirs))
        patterns.append((re.compile(pattern + r"(?P<end>\.weight|\.bias)?"), ours))

    def rename(name: str) -> str | None:
        for pattern, template in patterns:
            if match := pattern.fullmatch(name):
                groups = match.groupdict()
                stage = _stage(groups)
                if stage is None:
                    continue
                counts = {"s": stage, "t": stage + 1, "o": 2 * stage + 1, "e": 2 * stage + 2}
                return template.format(**counts, b=groups.get("b")) + (groups["end"] or "")
        return None

    return rename


def _stage(groups: Mapping[str, str | None]) -> int | None:
    """The stage that the numbers in a name tell; None where they are no stage's."""
    for letter, factor, offset in (("s", 1, 0), ("t", 1, 1), ("o", 2, 1), ("e", 2, 2)):
        if (number := groups.get(letter)) is not None:
            stage, rest = divmod(int(number) - offset, factor)
            return None if rest or stage < 0 else stage
    return 0


def _table(publisher: str) -> dict[str, str]:
    """The authors' names -> the publisher's."""
    special = _TABLES[publisher]
    return {**special, **{name: name for name in (*_NAMES, *_BUFFERS) if name not in special}}


def to_authors(state_dict: Mapping[str, object], prefer: str = "", source: str = "the state dict") -> Weights:
    """The weights of a state dict of any publisher; ``prefer`` as in :func:`identify`.

    Raises:
        UserError: no SwinV2 or several, version 1, absolute position embeddings, a weight that is not finite; names the
            ``source`` or the key.
    """
    identity = identify(state_dict, prefer)
    if identity is None:
        raise UserError(
            f"checkpoint {source} is not a SwinV2's: no patch_embed with cpb_mlp among its {len(state_dict)} keys"
        )
    publisher, prefix = identity
    weights = Weights(publisher, prefix, {})
    rename = _renamer({theirs: authors for authors, theirs in _table(publisher).items()})
    for key, value in state_dict.items():
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


def _sort_in(weights: Weights, key: str, value: Tensor, rename: Callable[[str], str | None]) -> None:
    """Put one tensor of a file where it belongs in ``weights``."""
    inside = key.startswith(weights.prefix)
    name = key[len(weights.prefix) :] if inside else key
    if weights.publisher == "timm":
        name = _unflattened({name})[0]
    authors = name if inside and re.fullmatch(r"norm\d+\.(weight|bias)", name) else rename(name)
    if authors is not None and authors.startswith("head."):
        weights.head[authors] = weights.other[key] = value
        weights.head_keys[key] = authors
        weights.dropped.setdefault("head", []).append(key)
    elif not inside:
        weights.other[key] = value
        weights.dropped.setdefault("decoder" if key.startswith("decoder.") else "beside the backbone", []).append(key)
    elif "absolute_pos_embed" in name or "position_embeddings" in name:
        raise UserError(f"{key}: absolute position embeddings, which this backbone does not have; take other weights")
    elif "mask_token" in name:
        weights.dropped.setdefault("mask token", []).append(key)
    elif authors is None:
        weights.unexpected.append(key)
    elif authors.endswith("relative_coords_table"):
        weights.tables[authors] = value
    elif authors.endswith("pretrained_window_size"):
        weights.saved_windows[int(authors.split(".")[1])] = value
    elif not authors.endswith(("relative_position_index", "attn_mask", "k_bias")):
        if value.is_floating_point() and not value.is_meta and not bool(torch.isfinite(value).all()):
            raise UserError(f"{key} holds a number that is not finite: the file is damaged or its training diverged")
        weights.tensors[authors] = value


def from_authors(
    weights: Weights, publisher: str, buffers: Mapping[str, Tensor] = MappingProxyType({})
) -> dict[str, Tensor]:
    """A publisher's state dict, with the head where there is one ('ours' has none): the inverse of :func:`to_authors`.

    ``buffers``, in the authors' names, are what the publisher saves beside the parameters.

    Raises:
        UserError: the publisher's models lack a parameter of these weights (the extra norms of H and G).
    """
    table, last = _table(publisher), len(weights.depths) - 1
    tensors = dict(weights.tensors)
    if publisher in ("ours", "mmpretrain"):
        _rename_norm(tensors, "norm", f"norm{last}")
    elif extra := [name for name in tensors if re.search(r"blocks\.\d+\.norm3", name)]:
        raise UserError(f"{extra[0]}: {publisher}'s models have no extra norms (SwinV2-H and -G); only mmpretrain's do")
    if publisher == "huggingface":
        tensors = _split_qkv(tensors)
    if publisher == "mmpretrain":
        tensors = _permute_reductions(tensors, to_authors=False)
    rename = _renamer(table)
    prefix = _PREFIXES.get(publisher, "") if weights.head or publisher == "mmpretrain" else ""
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
            out[f"{stem}qkv.weight"] = torch.cat([tensors[f"{stem}{part}.weight"] for part in "qkv"])
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


def _split_bias(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """attn.qkv.bias -> attn.q_bias and attn.v_bias; the part of the keys, which have none, is not used."""
    out: dict[str, Tensor] = {}
    for name, value in tensors.items():
        stem = name.removesuffix("qkv.bias")
        if stem == name:
            out[name] = value
        else:
            q, _, v = value.chunk(3)
            out |= {f"{stem}q_bias": q.clone(), f"{stem}v_bias": v.clone()}
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

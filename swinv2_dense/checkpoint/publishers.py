"""How each publisher names the weights of a SwinV2, in one table each, and whose names a state dict has.

The names in the middle are those of the authors' release, which are also ours but for the norms: the authors' ``norm``
is our ``norm{i}`` of the last stage, and only ours has norms of the earlier ones. A publisher's table lists what it
calls differently. ``{s}`` is a stage, ``{b}`` a block of it, ``{t}`` the stage after ``{s}``; torchvision numbers the
blocks of stage s as part ``{o}`` = 2s + 1 and the patch merging after it as ``{e}`` = 2s + 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from swinv2_dense.errors import UserError

__all__ = ["HEADS", "PREFIXES", "clean", "identify", "names_of", "renamer", "table_of", "unflattened"]

_BLOCK = "layers.{s}.blocks.{b}"
_NAMES = (
    *("patch_embed.proj", "patch_embed.norm", "norm", "head"),
    *(f"{_BLOCK}.attn.{part}" for part in ("qkv", "q_bias", "v_bias", "logit_scale", "cpb_mlp.0", "cpb_mlp.2", "proj")),
    *(f"{_BLOCK}.attn.{part}" for part in ("cpb_mlp", "cpb_mlp.linear1", "cpb_mlp.linear2")),  # ours alone
    *(f"{_BLOCK}.{part}" for part in ("norm1", "norm2", "norm3", "mlp.fc1", "mlp.fc2")),
    *("layers.{s}.downsample.reduction", "layers.{s}.downsample.norm"),
)
# Rebuilt from the windows (or zero by construction), never loaded. The windows are found from the coordinate tables.
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
_TV = "features.{o}.{b}"
_TORCHVISION = {
    "patch_embed.proj": "features.0.0",
    "patch_embed.norm": "features.0.2",
    **{n: n.replace(_BLOCK, _TV) for n in (*_NAMES, *_BUFFERS) if n.startswith(_BLOCK)},
    f"{_BLOCK}.mlp.fc1": f"{_TV}.mlp.0",
    f"{_BLOCK}.mlp.fc2": f"{_TV}.mlp.3",
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
PREFIXES = {"huggingface": "swinv2.", "mmpretrain": "backbone."}


# Parts of a name that wrappers add, wherever they stand: DDP and EMA, torch.compile, FSDP, activation checkpointing,
# DeepSpeed and Lightning.
_WRAPPERS = {
    *("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"),
}
# How the patch embedding's weight and the stages are called, by which publishers differ.
_STEMS = {
    "patch_embed.proj": "layers",
    "patch_embed.projection": "stages",
    "embeddings.patch_embeddings.projection": "encoder.layers",
    "features.0.0": "features",
}
_STAGES = re.compile(r"(?:^|\.)(encoder\.layers|layers|stages|features)[._][0-9]")


def clean(name: str) -> str:
    """A name without what wrappers of modules add to it: ``module.layers.0._orig_mod.x`` is ``layers.0.x``."""
    parts = name.split(".")
    return name if _WRAPPERS.isdisjoint(parts) else ".".join(part for part in parts if part not in _WRAPPERS)


def identify(names: Iterable[str], prefer: str = "") -> tuple[str, str] | None:
    """Publisher of a state dict with these (clean) names and the prefix of its backbone; None where no SwinV2 is in it.

    Of several SwinV2s the one under the prefix ``prefer`` is meant.

    Raises:
        UserError: several SwinV2s, or a Swin of version 1.
    """
    names = list(names)
    patches: dict[str, str] = {}  # prefix -> stem
    for name in names:
        for stem in _STEMS:
            prefix = name.removesuffix(f"{stem}.weight")
            if prefix != name and (not prefix or prefix.endswith(".")):
                patches[prefix] = stem
    networks = {place for name in names for place in _networks(name)}
    found = {prefix: stem for prefix, stem in patches.items() if (prefix, _STEMS[stem]) in networks}
    if not found and any("relative_position_bias_table" in name for name in names):
        raise UserError(
            "the checkpoint is a Swin Transformer of version 1 (relative_position_bias_table, no cpb_mlp); "
            "give a SwinV2 checkpoint, or use mmdet's SwinTransformer"
        )
    if len(found) > 1 and prefer not in found:
        some = ", ".join(map(repr, sorted(found)[:4])) + (", ..." if len(found) > 4 else "")
        raise UserError(
            f"the checkpoint holds {len(found)} SwinV2 backbones ({some}): give a state dict with one of them"
        )
    if not found:
        return None
    prefix = prefer if prefer in found else next(iter(found))
    inside = {name[len(prefix) :] for name in names if name.startswith(prefix)}
    return _family(inside, found[prefix], prefix), prefix


def _networks(name: str) -> Iterator[tuple[str, str]]:
    """Prefix and name of the stages, where ``name`` is of a meta network; two of them for ``encoder.layers``."""
    if any(part in name for part in ("cpb_mlp.", "rpe_mlp.", "continuous_position_bias_mlp.")) and (
        match := _STAGES.search(name)
    ):
        prefix = name[: match.start(1)]
        yield prefix, match[1]
        if match[1] == "encoder.layers":  # SimMIM's encoder, or a prefix called so
            yield f"{prefix}encoder.", "layers"


def _family(names: set[str], stem: str, prefix: str) -> str:
    if stem != "patch_embed.proj":
        return {
            "patch_embed.projection": "mmpretrain",
            "features.0.0": "torchvision",
        }.get(stem, "huggingface")
    if "layers.0.pretrained_window_size" in names:  # also after our own SimMIM
        return "ours"
    if "mask_token" in names or re.search(r"(^|\.)encoder\.$", prefix):
        return "simmim"
    if any(re.match(r"norm\d", n) for n in names):
        return "ours"
    merging = {n.split(".")[1] for n in map(unflattened, names) if re.match(r"layers\.\d+\.downsample", n)}
    # timm counts patch merging with the stage after it, so its first stage has none
    if "head.fc.weight" in names or (merging and "0" not in merging):
        return "timm"
    return "microsoft"


def unflattened(name: str) -> str:
    """timm's ``features_only`` models call their stages ``layers_0``."""
    return re.sub(r"^layers_([0-9]+)", r"layers.\1", name)


def renamer(table: Mapping[str, str]) -> Callable[[str], str | None]:
    """A function that renames by ``table`` (template -> template); None for a name that no template matches."""
    patterns = []
    for theirs, ours in table.items():
        # a {t} is one stage later than {s}, on either side
        pattern = re.sub(r"\\{([a-z])\\}", r"(?P<\1>[0-9]{1,4})", re.escape(theirs))
        patterns.append((re.compile(pattern + r"(?P<end>\.weight|\.bias)?"), ours))

    def rename(name: str) -> str | None:
        for pattern, template in patterns:
            if match := pattern.fullmatch(name):
                groups = match.groupdict()
                stage = _stage(groups)
                if stage is None:
                    continue
                numbers = {"s": stage, "t": stage + 1, "o": 2 * stage + 1, "e": 2 * stage + 2, "b": groups.get("b")}
                return template.format(**numbers) + (groups["end"] or "")
        return None

    return rename


def _stage(groups: Mapping[str, str]) -> int | None:
    """The stage that a name's number stands for; None for a number that stands for none."""
    for letter, factor, offset in (("s", 1, 0), ("t", 1, 1), ("o", 2, 1), ("e", 2, 2)):
        if groups.get(letter):
            stage, remainder = divmod(int(groups[letter]) - offset, factor)
            return None if remainder or stage < 0 else stage
    return 0


def table_of(publisher: str) -> dict[str, str]:
    """The authors' names -> the publisher's."""
    special = _TABLES[publisher]
    return {**special, **{name: name for name in (*_NAMES, *_BUFFERS) if name not in special}}


def names_of(publisher: str) -> dict[str, str]:
    """The publisher's names -> the authors'. A head of ours is called as MMPretrain's (``head.fc``), or beside a bare
    backbone as the authors' (``head``)."""
    names = {theirs: authors for authors, theirs in table_of(publisher).items()}
    return {**names, "head.fc": "head"} if publisher == "ours" else names

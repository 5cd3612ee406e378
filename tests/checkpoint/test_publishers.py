"""Renaming: every key of every publisher is accounted for, and the way back gives the same file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from swinv2_dense.checkpoint import convert, load_pretrained, read, summarize
from swinv2_dense.checkpoint.publishers import identify
from swinv2_dense.checkpoint.renaming import from_authors, to_authors
from swinv2_dense.errors import UserError
from swinv2_dense.models import SwinTransformerV2
from tests.checkpoint.makers import MAKERS, huggingface, microsoft, mmpretrain, timm
from tests.models.oracles import ARCH

EVERYONE = pytest.mark.parametrize("publisher", MAKERS)


@EVERYONE
def test_every_key_is_accounted_for(publisher: str) -> None:
    state_dict = MAKERS[publisher]().state_dict
    weights = to_authors(state_dict)
    assert weights.publisher == publisher
    assert not weights.unexpected
    buffers = [k for k in state_dict if k.endswith(("position_index", "attn_mask"))]
    dropped = [k for keys in weights.dropped.values() for k in keys]
    merged = 2 * sum(weights.depths) if publisher == "huggingface" else 0  # query, key, value -> qkv
    consumed = len(weights.tensors) + merged + len(weights.tables) + len(buffers) + len(dropped)
    assert consumed == len(state_dict)
    assert set(weights.head) == (set() if publisher == "simmim" else {"head.weight", "head.bias"})
    authors = set(microsoft().state_dict)
    assert set(weights.tensors) == {k for k in authors if not k.startswith("head") and k not in _buffers(authors)}


def _buffers(names: set[str]) -> set[str]:
    return {k for k in names if k.endswith(("relative_coords_table", "relative_position_index", "attn_mask"))}


@pytest.mark.parametrize("publisher", ["microsoft", "timm", "huggingface", "mmpretrain"])
def test_the_way_back_gives_the_publishers_own_file(publisher: str) -> None:
    state_dict = MAKERS[publisher]().state_dict
    back = from_authors(to_authors(state_dict), publisher)
    assert set(back) == set(state_dict) - _buffers(set(state_dict))
    assert all(torch.equal(back[key], state_dict[key]) for key in back)


@EVERYONE
@pytest.mark.parametrize("prefix", ["module.", "backbone.", "student._orig_mod.net."])
def test_the_backbone_is_found_under_any_prefix(publisher: str, prefix: str) -> None:
    state_dict = {prefix + k: v for k, v in MAKERS[publisher]().state_dict.items()}
    identity = identify(state_dict)
    assert identity is not None
    assert identity[0] == publisher
    weights = to_authors(state_dict)
    assert weights.publisher == publisher
    assert len(weights.depths) == 4


def test_timms_feature_extractor_is_timms_too() -> None:
    state_dict = {k.replace("layers.", "layers_"): v for k, v in timm().state_dict.items() if "head" not in k}
    weights = to_authors(state_dict)
    assert weights.publisher == "timm"
    assert "layers.0.downsample.reduction.weight" in weights.tensors


def test_ours_keeps_the_norms_of_all_stages() -> None:
    state_dict = {
        k: v for k, v in microsoft().state_dict.items() if not k.startswith(("norm", "head")) and "rel" not in k
    }
    state_dict |= {f"norm{i}.weight": torch.full((32 * 2**i,), float(i)) for i in range(4)}
    weights = to_authors(state_dict)
    assert weights.publisher == "ours"
    assert weights.tensors["norm.weight"].unique().tolist() == [3.0]
    assert weights.tensors["norm1.weight"].unique().tolist() == [1.0]
    assert "norm3.weight" in from_authors(weights, "ours")


def test_mmpretrains_reduction_is_permuted_channel_by_channel() -> None:
    state_dict = mmpretrain().state_dict
    key = "backbone.stages.1.downsample.reduction.weight"
    theirs = state_dict[key]
    ours = to_authors(state_dict).tensors["layers.0.downsample.reduction.weight"]
    channels = theirs.shape[1] // 4
    # (row, column) of the 2 x 2 neighbours in the authors' order
    for position, (row, column) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        for c in (0, 1, channels - 1):
            assert torch.equal(ours[:, position * channels + c], theirs[:, 4 * c + 2 * row + column])


def test_query_key_and_value_are_stacked_in_this_order() -> None:
    state_dict = huggingface().state_dict
    qkv = to_authors(state_dict).tensors["layers.1.blocks.0.attn.qkv.weight"]
    stem = "swinv2.encoder.layers.1.blocks.0.attention.self."
    assert torch.equal(qkv, torch.cat([state_dict[f"{stem}{name}.weight"] for name in ("query", "key", "value")]))


def test_extra_norms_pass_where_the_publisher_has_them() -> None:
    published = mmpretrain(extra_norms=2)
    weights = to_authors(published.state_dict)
    assert "layers.2.blocks.1.norm3.weight" in weights.tensors
    back = from_authors(weights, "mmpretrain")
    assert torch.equal(back["backbone.stages.2.blocks.1.norm3.bias"], weights.tensors["layers.2.blocks.1.norm3.bias"])
    with pytest.raises(UserError, match=r"blocks\.1\.norm3.*huggingface's models have no extra norms"):
        from_authors(weights, "huggingface")


def test_a_stranger_inside_the_backbone_is_unexpected_and_one_beside_it_is_not() -> None:
    state_dict = mmpretrain().state_dict
    state_dict |= {"backbone.adapter.weight": torch.ones(1), "roi_head.fc.weight": torch.ones(1)}
    weights = to_authors(state_dict)
    assert weights.unexpected == ["backbone.adapter.weight"]
    assert weights.dropped["beside the backbone"] == ["roi_head.fc.weight"]


def _changed(change: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**microsoft().state_dict, **change}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused_by_its_key(value: float) -> None:
    broken = torch.ones(32)
    broken[7] = value
    with pytest.raises(UserError, match=r"layers\.0\.blocks\.1\.attn\.q_bias holds a number that is not finite"):
        to_authors(_changed({"layers.0.blocks.1.attn.q_bias": broken}))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("mlp.fc1.weight", torch.full((128, 32), 1e300, dtype=torch.float64), "not finite"),  # infinite in float32
        ("mlp.fc1.weight", torch.ones(128, 32, dtype=torch.int8), "is of type torch.int8"),
        ("mlp.fc1.weight", torch.ones(128, 32, dtype=torch.bool), "is of type torch.bool"),
        ("attn.k_bias", torch.ones(32), "the keys of a SwinV2 have no bias"),
    ],
)
def test_numbers_that_the_model_would_not_have_are_refused(name: str, value: Tensor, said: str) -> None:
    key = f"layers.0.blocks.0.{name}"
    with pytest.raises(UserError, match=rf"{re.escape(key)} .*{said}"):
        to_authors(_changed({key: value}))
    to_authors(_changed({"layers.0.blocks.0.attn.k_bias": torch.zeros(32)}))


def test_a_swin_of_version_1_is_refused_by_name() -> None:
    version_1 = {k: v for k, v in microsoft().state_dict.items() if "cpb_mlp" not in k}
    version_1["layers.0.blocks.0.attn.relative_position_bias_table"] = torch.zeros(49, 1)
    with pytest.raises(UserError, match="Swin Transformer of version 1"):
        to_authors(version_1)


def test_other_networks_are_refused_as_such() -> None:
    with pytest.raises(UserError, match=r"some\.pth is not a SwinV2's.*among its 1 keys"):
        to_authors({"conv1.weight": torch.ones(1)}, source="some.pth")
    vit = {"patch_embed.proj.weight": torch.ones(1), "blocks.0.attn.qkv.weight": torch.ones(1)}
    with pytest.raises(UserError, match="is not a SwinV2's"):
        to_authors(vit)


def test_absolute_position_embeddings_are_refused() -> None:
    with pytest.raises(UserError, match="absolute_pos_embed: absolute position embeddings"):
        to_authors(_changed({"absolute_pos_embed": torch.zeros(1, 256, 32)}))


def test_of_two_backbones_the_preferred_one_is_read() -> None:
    one = microsoft().state_dict
    two = {
        f"{name}.{k}": v + (i if v.is_floating_point() else 0)
        for i, name in enumerate(("a", "b"))
        for k, v in one.items()
    }
    with pytest.raises(UserError, match=r"holds 2 SwinV2 backbones \('a\.', 'b\.'\)"):
        to_authors(two)
    weights = to_authors(two, prefer="b.")
    assert torch.equal(weights.tensors["norm.bias"], one["norm.bias"] + 1)


def test_twenty_thousand_look_alikes_take_no_time_to_refuse() -> None:
    state_dict = {}
    for i in range(20_000):
        state_dict[f"a{i}.patch_embed.proj.weight"] = torch.zeros(1)
        state_dict[f"a{i}.layers.0.blocks.0.attn.cpb_mlp.0.weight"] = torch.zeros(1)
    with pytest.raises(UserError, match=r"holds 20000 SwinV2 backbones \('a0\.', .*\.\.\.\)") as info:
        to_authors(state_dict)
    assert len(str(info.value)) < 300


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layers.999999999999.blocks.0.attn.logit_scale", torch.zeros(1, 1, 1)),
        ("layers.9999.blocks.0.attn.logit_scale", torch.zeros(1, 1, 1)),
        ("layers." + "9" * 5000 + ".blocks.0.norm1.weight", torch.zeros(32)),
        ("layers.\u0663.blocks.0.norm1.weight", torch.zeros(32)),  # a digit, but not of ASCII
        ("patch_embed.proj.weight", torch.zeros(())),
        ("patch_embed.proj.weight", torch.zeros(0, 3, 4, 4)),
        ("layers.0.blocks.0.attn.logit_scale", torch.zeros(())),
        ("layers.0.blocks.0.mlp.fc1.weight", torch.zeros(3)),
        ("layers.0.blocks.0.attn.qkv.weight", torch.zeros(())),
        ("layers.0.blocks.0.norm1.weight", torch.zeros(())),
        ("layers.0.blocks.0.attn.relative_coords_table", torch.zeros(())),
        ("layers.0.blocks.0.attn.relative_coords_table", torch.zeros(1, 7, 7, 2, dtype=torch.int64)),
        ("layers.0.blocks.0.attn.relative_coords_table", torch.full((1, 7, 7, 2), 1e30)),
        ("layers.0.blocks.0.attn.relative_coords_table", torch.full((1, 7, 7, 2), float("nan"))),
        ("layers.0.blocks.0.attn.relative_coords_table", torch.zeros(1, 0, 0, 2)),
        ("layers.0.blocks.0.attn.relative_coords_table", torch.zeros(1, 1, 1, 7)),
        ("head.weight", torch.zeros(())),
        ("norm.weight", torch.zeros(2, 2)),
    ],
)
@pytest.mark.parametrize("door", ["load", "state dict", "inspect", "convert"])
def test_an_odd_key_or_shape_ends_in_a_line_or_does_not_matter(
    key: str, value: Tensor, door: str, tmp_path: Path
) -> None:
    state_dict = _changed({key: value})
    try:
        if door == "load":
            load_pretrained(SwinTransformerV2(ARCH, window_size=4), state_dict)
        elif door == "state dict":
            SwinTransformerV2(ARCH, window_size=4).load_state_dict(state_dict, strict=False)
        elif door == "inspect":
            summarize(read(state_dict)).rows()
        else:
            convert(state_dict, tmp_path / "x.pth", "timm")
    except UserError:
        return
    assert key.startswith(("layers.9", "layers.\u0663")) or door in ("inspect", "convert")


@pytest.mark.parametrize("publisher", ["huggingface", "mmpretrain", "timm"])
@pytest.mark.parametrize("ending", ["query.weight", "key.weight", "reduction.weight", "qkv.weight", "logit_scale"])
@pytest.mark.parametrize("value", [None, torch.zeros(()), torch.zeros(3, 5)])
def test_missing_and_odd_weights_of_every_layout_are_refused(publisher: str, ending: str, value: Tensor | None) -> None:
    state_dict = dict(MAKERS[publisher]().state_dict)
    keys = [key for key in state_dict if key.endswith(ending)]
    if not keys:
        return
    del state_dict[keys[0]]
    if value is not None:
        state_dict[keys[0]] = value
    with pytest.raises(UserError):
        load_pretrained(SwinTransformerV2(ARCH, window_size=4), state_dict, 4)


def test_a_name_under_a_wrapper_and_without_is_refused() -> None:
    with pytest.raises(UserError, match=r"holds norm\.bias twice"):
        to_authors(_changed({"module.norm.bias": torch.ones(256)}))

"""A converted checkpoint works in the publisher's own library, whatever it was converted from."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from torch import Tensor, nn

from swinv2_dense.checkpoint import convert, read, summarize
from swinv2_dense.checkpoint.renaming import to_authors
from swinv2_dense.checkpoint.writing import TARGETS, position_index, shift_mask
from swinv2_dense.errors import UserError
from swinv2_dense.models import SwinTransformerV2
from tests.checkpoint import makers
from tests.checkpoint.makers import MAKERS, PRETRAINED, Published, microsoft, mmpretrain, save, simmim, timm
from tests.models.oracles import ARCH, randomize


def load_in_library(path: Path, publisher: str, **options: Any) -> Published:
    """The publisher's model with the file's weights, loaded as its users would, nothing missing or left."""
    if publisher == "huggingface":
        from transformers import Swinv2ForImageClassification

        model, info = Swinv2ForImageClassification.from_pretrained(path, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        fresh = makers.huggingface(**options)
        # what the folder's configuration makes, not what the test would
        assert model.config.pretrained_window_sizes == fresh.model.config.pretrained_window_sizes  # type: ignore[union-attr]
        fresh.model.load_state_dict(model.state_dict())
        assert model.config.window_size == fresh.model.config.window_size  # type: ignore[union-attr]
        assert model.config.image_size == fresh.model.config.image_size  # type: ignore[union-attr]
        return fresh
    fresh = MAKERS[publisher](**options)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        content = load_file(path)
    else:
        content = torch.load(path, weights_only=True)
    content = content.get("state_dict", content)
    if publisher == "microsoft":
        expected = fresh.state_dict
        assert {k: v.shape for k, v in content["model"].items()} == {k: v.shape for k, v in expected.items()}
        for key, value in expected.items():
            if key.endswith(("coords_table", "position_index", "attn_mask")):
                torch.testing.assert_close(content["model"][key], value, equal_nan=True)
        from timm.models.swin_transformer_v2 import checkpoint_filter_fn

        content = checkpoint_filter_fn(content, fresh.model)
    # MMPretrain saves tables and indices, but deletes them before it loads
    rebuilt = [k for k, _ in fresh.model.named_buffers() if publisher == "mmpretrain"]
    for key in rebuilt:
        torch.testing.assert_close(content[key], fresh.state_dict[key])
    missing, unexpected = fresh.model.load_state_dict(content, strict=False)
    assert set(missing) <= set(rebuilt)
    assert not unexpected
    return fresh


@pytest.mark.parametrize("source", ["microsoft", "timm", "huggingface", "mmpretrain"])
@pytest.mark.parametrize("to", [target for target in TARGETS if target != "torchvision"])
@torch.no_grad()
def test_a_converted_classifier_computes_the_same_in_the_other_library(source: str, to: str, tmp_path: Path) -> None:
    published = MAKERS[source]()
    file = save(published, source, tmp_path)
    out = tmp_path / ("out" if to == "huggingface" else "out.pth")
    left = convert(file, out, to, pretrained_window_size=PRETRAINED, window_size=4, image_size=64)
    assert left == []
    other = load_in_library(out, to)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(other.features(x), published.features(x), rtol=1e-4, atol=1e-4)
    assert other.logits is not None
    assert published.logits is not None
    torch.testing.assert_close(_tensor(other.logits(x)), _tensor(published.logits(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("source", ["microsoft", "timm", "huggingface", "mmpretrain", "torchvision"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@torch.no_grad()
def test_torchvisions_own_model_computes_the_same(source: str, suffix: str, tmp_path: Path) -> None:
    """At 128 pixels all stages have windows of 4, as torchvision's models need; their unit may be another."""
    before = [2, 4, 4, 3]
    published = (
        makers.torchvision() if source == "torchvision" else MAKERS[source](size=128, window=4, pretrained=before)
    )
    file = save(published, source, tmp_path)
    left = convert(
        file, tmp_path / f"out{suffix}", "torchvision", pretrained_window_size=before, window_size=4, image_size=128
    )
    assert left == []
    other = makers.torchvision()
    content = read(tmp_path / f"out{suffix}").state_dict
    other.model.load_state_dict(content)  # strict
    x = torch.randn(2, 3, 128, 128)
    assert other.logits is not None
    assert published.logits is not None
    torch.testing.assert_close(other.logits(x), published.logits(x), rtol=1e-4, atol=1e-4)
    if source == "torchvision":  # the way back gives the file, but for the part of the bias that is never used
        for key, value in published.state_dict.items():
            if key.endswith("qkv.bias"):
                value.chunk(3)[1].zero_()
            assert torch.equal(content[key], value), key


@torch.no_grad()
def test_torchvisions_weights_go_to_another_publishers_model(tmp_path: Path) -> None:
    published, other = makers.torchvision(), timm(size=128, window=4, pretrained=[0] * 4)
    convert(published.state_dict, tmp_path / "timm.pth", "timm", window_size=4, image_size=128)
    other.model.load_state_dict(torch.load(tmp_path / "timm.pth", weights_only=True))
    x = torch.randn(2, 3, 128, 128)
    torch.testing.assert_close(other.logits(x), published.logits(x), rtol=1e-4, atol=1e-4)  # type: ignore[misc]


@pytest.mark.parametrize("name", ["swin_v2_t", "swin_v2_s", "swin_v2_b"])
def test_torchvisions_models_have_these_names(name: str) -> None:
    import torchvision

    from swinv2_dense.checkpoint.renaming import from_authors, to_authors

    with torch.device("meta"):
        model = getattr(torchvision.models, name)()
    weights = to_authors({key: torch.zeros(()).expand(value.shape) for key, value in model.state_dict().items()})
    assert weights.publisher == "torchvision"
    assert not weights.unexpected
    back = from_authors(weights, "torchvision", weights.tables)
    assert set(back) == {key for key in model.state_dict() if "position_index" not in key}
    assert all(back[key].shape == model.state_dict()[key].shape for key in back)


def test_what_torchvisions_models_cannot_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one window in all stages"):
        convert(microsoft().state_dict, tmp_path / "x.pth", "torchvision")


@pytest.mark.parametrize("to", ["microsoft", "mmpretrain", "torchvision"])
def test_windows_whose_indices_fill_the_memory_are_refused(to: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="GiB of indices"):
        convert(microsoft().state_dict, tmp_path / "x.pth", to, window_size=100_000, image_size=3_200_000)


def _tensor(logits: Any) -> Tensor:
    return logits


@pytest.mark.parametrize("to", [target for target in TARGETS if target != "torchvision"])
@torch.no_grad()
def test_our_detectors_backbone_is_written_for_every_library(to: str, tmp_path: Path) -> None:
    detector = nn.Module()
    detector.backbone = SwinTransformerV2(ARCH, window_size=4, pretrained_window_size=[8, 8, 4, 2])
    detector.rpn_head = nn.Linear(2, 2)
    randomize(detector)
    torch.save({"state_dict": detector.state_dict(), "meta": {}}, tmp_path / "epoch_1.pth")
    out = tmp_path / ("out" if to == "huggingface" else "out.pth")
    left = convert(tmp_path / "epoch_1.pth", out, to, window_size=4, image_size=64)
    assert set(left) == {
        "rpn_head.weight",
        "rpn_head.bias",
        *(f"norm{i}.{part}" for i in range(3) for part in ("weight", "bias")),
    }
    # a backbone alone has no head: back it goes into ours
    again = SwinTransformerV2(ARCH, window_size=4, pretrained_window_size=[8, 8, 4, 2]).eval()
    from swinv2_dense.checkpoint import load_pretrained

    load_pretrained(again, out)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(again(x)[-1], detector.backbone(x)[-1])
    assert again.pretrained_window_size == detector.backbone.pretrained_window_size


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("names", [("backbone.", "head.fc."), ("", "head."), ("", "head.fc.")])
def test_our_classifiers_head_is_written_for_every_library(to: str, names: tuple[str, str], tmp_path: Path) -> None:
    """Of MMPretrain's classifiers, and beside the names of a backbone alone."""
    backbone = SwinTransformerV2(ARCH, window_size=4, out_indices=3)
    fc = nn.Linear(backbone.num_features[-1], 5)
    parts = zip(names, (backbone, fc), strict=True)
    state = {f"{prefix}{name}": value for prefix, part in parts for name, value in part.state_dict().items()}
    torch.save({"state_dict": state, "meta": {}}, tmp_path / "epoch_1.pth")
    out = tmp_path / ("out" if to == "huggingface" else "out.pth")
    assert convert(tmp_path / "epoch_1.pth", out, to, image_size=128) == []
    head = to_authors(read(out).state_dict).head
    assert torch.equal(head["head.weight"], fc.weight)
    assert torch.equal(head["head.bias"], fc.bias)


@torch.no_grad()
def test_transformers_reads_a_folder_without_head(tmp_path: Path) -> None:
    from transformers import Swinv2Model

    published = simmim()
    convert(save(published, "simmim", tmp_path), tmp_path / "out", "huggingface")
    model, info = Swinv2Model.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    x = torch.randn(1, 3, 64, 64)
    tokens = model.eval()(x).last_hidden_state.transpose(1, 2).unflatten(2, (2, 2))
    torch.testing.assert_close(tokens, published.features(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_larger_window_is_written_on_request(tmp_path: Path) -> None:
    published = microsoft(size=64, window=4, pretrained=[4, 4, 4, 2])
    convert(save(published, "microsoft", tmp_path), tmp_path / "out.pth", "microsoft", window_size=8, image_size=128)
    geometry = summarize(read(tmp_path / "out.pth")).geometry
    assert geometry is not None
    assert geometry.windows == ((8, 8), (8, 8), (8, 8), (4, 4))
    assert geometry.pretrained == ((4, 4), (4, 4), (4, 4), (2, 2))
    other = load_in_library(tmp_path / "out.pth", "microsoft", size=128, window=8, pretrained=[4, 4, 4, 2])
    larger = timm(size=128, window=8, pretrained=[4, 4, 4, 2])
    larger.model.load_state_dict(published.model.state_dict())
    x = torch.randn(1, 3, 128, 128)
    torch.testing.assert_close(other.features(x), larger.features(x))


def test_what_was_read_is_the_default(tmp_path: Path) -> None:
    published = microsoft(size=128, window=8, pretrained=[4, 4, 4, 2])
    convert(save(published, "microsoft", tmp_path), tmp_path / "out.pth", "microsoft")
    found = torch.load(tmp_path / "out.pth", weights_only=True)["model"]
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in published.state_dict.items()}
    assert all(torch.allclose(found[k], published.state_dict[k], equal_nan=True) for k in found)


@pytest.mark.parametrize("window", [2, 3, 4])
def test_index_and_mask_are_the_authors(window: int) -> None:
    assert torch.equal(position_index((window, window)), makers.position_index(window))
    grid = 3 * window
    assert torch.equal(shift_mask((grid, grid), (window, window)), makers.attn_mask(grid, window))


def test_safetensors_by_name(tmp_path: Path) -> None:
    published = timm()
    out = tmp_path / "deep" / "er" / "x.safetensors"
    convert(published.state_dict, out, "timm", pretrained_window_size=PRETRAINED)
    assert out.is_file()
    fresh = load_in_library(out, "timm")
    assert torch.equal(fresh.model.norm.bias, published.state_dict["norm.bias"])  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(to="microsoft"), "nothing says what the pre-training window"),
        (dict(to="keras"), "to='keras': choose one of microsoft"),
        (
            dict(to="microsoft", pretrained_window_size=[3, 3, 2, 2]),
            r"\(16, 16\) tokens, which windows of \(3, 3\) do not",
        ),
        (dict(to="timm", pretrained_window_size=4, image_size=70), "give a multiple of 32 pixels"),
        (dict(to="huggingface", pretrained_window_size=[4, 2, 4, 2]), "one square window"),
    ],
)
def test_what_a_layout_cannot_say_is_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        convert(timm().state_dict, tmp_path / "out.pth", **options)
    assert list(tmp_path.iterdir()) == []


def test_extra_norms_go_to_mmpretrain_alone(tmp_path: Path) -> None:
    published = mmpretrain(extra_norms=2)
    convert(published.state_dict, tmp_path / "mm.pth", "mmpretrain")
    found = torch.load(tmp_path / "mm.pth", weights_only=True)["state_dict"]
    assert set(found) == set(published.state_dict)
    with pytest.raises(UserError, match="no extra norms"):
        convert(published.state_dict, tmp_path / "timm.pth", "timm")


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = microsoft()
    out = tmp_path / "out.pth"
    out.write_text("precious")

    def fail(content: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(UserError, match=r"cannot be written.*No space left"):
            convert(published.state_dict, out, "microsoft")
    assert out.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out.pth"]
    convert(published.state_dict, tmp_path / "folder", "huggingface")
    with pytest.raises(UserError, match="folder that is not empty"):
        convert(published.state_dict, tmp_path / "folder", "huggingface")
    with pytest.raises(UserError, match="is a folder"):
        convert(published.state_dict, tmp_path / "folder", "timm")
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert len(config["id2label"]) == makers.CLASSES

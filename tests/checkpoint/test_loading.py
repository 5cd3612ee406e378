"""However weights arrive and whoever published them, the backbone computes what the publisher's model does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.checkpoint.publishers import HEADS
from swinv2_dense.errors import UserError
from swinv2_dense.models import SwinTransformerV2
from tests.checkpoint.makers import CLASSES, MAKERS, PRETRAINED, microsoft, mmpretrain, save, simmim, timm
from tests.models.oracles import ARCH, randomize

EVERYONE = pytest.mark.parametrize("publisher", MAKERS)
STAGES = tuple((p, p) for p in PRETRAINED)


def ours(window: Any = 4, **options: Any) -> SwinTransformerV2:
    return SwinTransformerV2(ARCH, window_size=window, **options).eval()


class Detector(nn.Module):
    def __init__(self, classes: int = 3, **options: Any) -> None:
        super().__init__()
        self.backbone = ours(**options)
        self.roi_head = nn.Linear(8, classes)
        self.rpn_head = nn.Linear(8, 2)


def by_load_pretrained(path: Path, windows: Any) -> nn.Module:
    model = ours()
    load_pretrained(model, path, windows)
    return model


def by_init_cfg(path: Path, windows: Any) -> nn.Module:
    model = ours(pretrained_window_size=windows, init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    model.init_weights()
    return model


def by_load_state_dict(path: Path, windows: Any) -> nn.Module:
    from swinv2_dense.checkpoint import read

    model = ours(pretrained_window_size=windows)
    model.load_state_dict(read(path).state_dict)  # strict: nothing missing, nothing unexpected
    return model


def into_a_detector(path: Path, windows: Any) -> nn.Module:
    model = Detector()
    load_pretrained(model, path, windows)
    return model.backbone.eval()


WAYS = [by_load_pretrained, by_init_cfg, by_load_state_dict, into_a_detector]


@EVERYONE
@pytest.mark.parametrize("way", WAYS)
@torch.no_grad()
def test_the_backbone_computes_what_the_publishers_model_does(
    publisher: str, way: Callable[[Path, Any], nn.Module], tmp_path: Path
) -> None:
    silent = publisher == "timm" or (publisher == "huggingface" and way is by_load_state_dict)  # no config.json
    published = MAKERS[publisher]()
    model = way(save(published, publisher, tmp_path), PRETRAINED if silent else None)
    x = torch.randn(2, 3, 64, 64)
    assert model.pretrained_window_size == STAGES
    torch.testing.assert_close(model(x)[-1], published.features(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_another_window_continues_the_pretrained_bias() -> None:
    """The rule of window transfer, against timm's own model of that window: W changes, W_pre stays."""
    model = ours(window=8)
    load_pretrained(model, microsoft().state_dict)  # used at 4, pre-trained at 3, 3, 2, 2
    larger = timm(size=128, window=8)
    larger.model.load_state_dict(_as_timm(model), strict=False)
    x = torch.randn(1, 3, 128, 128)
    torch.testing.assert_close(model(x)[-1], larger.features(x), rtol=1e-4, atol=1e-4)


def _as_timm(model: nn.Module) -> dict[str, Tensor]:
    from swinv2_dense.checkpoint.publishers import from_authors, to_authors

    return from_authors(to_authors(model.state_dict()), "timm")


def test_the_pretraining_window_survives_a_chain(tmp_path: Path) -> None:
    """8 -> 16 -> 12: every file in between is our own."""
    first = ours(window=16)
    load_pretrained(first, microsoft(size=256, window=8, pretrained=[0] * 4).state_dict)
    assert first.pretrained_window_size == ((8, 8),) * 4
    torch.save({"state_dict": first.state_dict()}, tmp_path / "16.pth")
    second = ours(window=12)
    report = load_pretrained(second, tmp_path / "16.pth")
    assert second.pretrained_window_size == ((8, 8),) * 4
    assert report.publisher == "ours"
    for a, b in zip(first.layers, second.layers, strict=True):
        bias = a.blocks[0].attn.cpb_mlp((12, 12))
        assert torch.equal(bias, b.blocks[0].attn.cpb_mlp((12, 12)))


def test_an_already_transferred_checkpoint_keeps_its_first_window() -> None:
    model = ours(window=32)
    load_pretrained(model, microsoft(size=192, window=12, pretrained=[6, 6, 6, 3]).state_dict)
    assert model.pretrained_window_size == ((6, 6), (6, 6), (6, 6), (3, 3))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(MMLogger, "_instance_dict", {})
    caplog.set_level(logging.INFO, logger="swinv2_dense")
    return caplog


def test_the_report_says_what_was_done(log: pytest.LogCaptureFixture) -> None:
    model = ours(window=8)
    report = load_pretrained(model, simmim().state_dict)
    assert report.publisher == "simmim"
    assert len(report.loaded) == sum(1 for _ in model.parameters()) - 6
    assert report.plain_norms == [f"norm{i}.{part}" for i in range(3) for part in ("weight", "bias")]
    assert not report.missing
    assert not report.unexpected
    assert report.dropped == {"mask token": ["encoder.mask_token"], "decoder": ["decoder.0.weight", "decoder.0.bias"]}
    assert report.pretrained_windows == STAGES
    assert report.windows == ((8, 8),) * 4
    for line in ("publisher", "simmim", "pre-trained window 3x3 -> 8x8", "mask token", "start as plain LayerNorm"):
        assert line in str(report)
        assert line in log.text
    for i in range(3):
        assert getattr(model, f"norm{i}").weight.unique().tolist() == [1.0]


def test_the_report_goes_to_mmengines_logger_where_there_is_one(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    MMLogger.get_instance("loading", log_file=str(tmp_path / "log.txt"))
    load_pretrained(ours(), microsoft().state_dict)
    assert "publisher" in (tmp_path / "log.txt").read_text()
    assert not log.text


def test_stored_windows_win_over_an_argument_that_disagrees(log: pytest.LogCaptureFixture) -> None:
    model = ours()
    load_pretrained(model, microsoft().state_dict, 7)
    assert model.pretrained_window_size == STAGES
    assert "pretrained_window_size=7x7 7x7 7x7 7x7 disagrees with its coordinate tables" in log.text
    log.clear()
    load_pretrained(model, microsoft().state_dict, PRETRAINED)
    assert "disagrees" not in log.text


def test_if_nothing_tells_the_window_it_is_asked_for(tmp_path: Path) -> None:
    path = save(timm(), "timm", tmp_path, "model-of-mine")
    with pytest.raises(UserError, match=r"nothing tells the pre-training window.*pretrained_window_size"):
        load_pretrained(ours(), path)
    with pytest.raises(UserError, match="nothing tells the pre-training window"):
        ours().load_state_dict(timm().state_dict)
    load_pretrained(ours(window=1), path)  # makes no difference
    named = path.rename(tmp_path / "swinv2_tiny_window8_256.safetensors")
    model = ours()
    load_pretrained(model, named)
    assert model.pretrained_window_size == ((8, 8),) * 4


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        (
            dict(embed_dims=64),
            r"patch_embed\.proj\.weight: the checkpoint has \(32, 3, 4, 4\), the model \(64, 3, 4, 4\)",
        ),
        (dict(depths=[2, 2, 4, 2]), r"layers\.2\.blocks\.2\.\S+: the checkpoint has nothing, the model \("),
        (dict(depths=[2, 2, 1, 2]), r"layers\.2\.blocks\.1\.\S+: the checkpoint has \(.*\), the model nothing"),
        (dict(num_heads=[2, 4, 8, 16]), r"layers\.0\.blocks\.0\.attn\.logit_scale: the checkpoint has \(1, 1, 1\)"),
        (dict(extra_norm_every_n_blocks=2), r"layers\.0\.blocks\.1\.norm3\.weight: the checkpoint has nothing"),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_another_architecture_is_refused_and_changes_nothing(arch: dict[str, Any], said: str, own: bool) -> None:
    state_dict = ours().state_dict() if own else microsoft().state_dict
    model = randomize(SwinTransformerV2({**ARCH, **arch}, window_size=4))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(UserError, match=said):
        load_pretrained(model, state_dict)
    if "extra_norm_every_n_blocks" not in arch or not own:  # a single missing parameter of ours is `strict`'s to judge
        with pytest.raises(UserError, match=r"the checkpoint has .* the model "):
            model.load_state_dict(state_dict, strict=False)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_match_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="not a SwinV2's"):
        ours().load_state_dict({"conv1.weight": torch.ones(1)}, strict=False)
    with pytest.raises(UserError, match="holds 0 of our SwinV2 backbones"):
        load_pretrained(nn.Linear(2, 2), microsoft().state_dict)
    with pytest.raises(UserError, match="holds 2 of our SwinV2 backbones"):
        load_pretrained(nn.ModuleList([ours(), ours()]), microsoft().state_dict)


def test_a_part_of_our_own_names_is_left_to_strict() -> None:
    model = ours()
    part = {"norm0.weight": torch.full((32,), 5.0)}
    model.load_state_dict(part, strict=False)
    assert model.norm0.weight.unique().tolist() == [5.0]
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(part)
    model.load_state_dict({**part, "stranger": torch.ones(1)}, strict=False)
    detector = Detector()
    detector.load_state_dict({"rpn_head.bias": torch.zeros(2)}, strict=False)
    assert model.pretrained_window_size == ((4, 4),) * 4


def test_parameters_without_their_window_keep_the_backbones(log: pytest.LogCaptureFixture) -> None:
    model, copy = ours(), ours(pretrained_window_size=9)
    copy.load_state_dict(dict(model.named_parameters()), strict=False)
    assert copy.pretrained_window_size == ((9, 9),) * 4
    assert "does not save its pre-training window" in log.text


def test_what_a_training_program_saved_is_loaded_as_it_is() -> None:
    model = ours()
    model.load_state_dict({"model": microsoft().state_dict, "epoch": 3})
    assert model.pretrained_window_size == STAGES


def test_norms_the_model_does_not_return_are_dropped() -> None:
    model = ours(out_indices=(1, 2))
    report = load_pretrained(model, microsoft().state_dict)
    assert report.dropped["norm of a stage not in out_indices"] == ["norm3.weight", "norm3.bias"]


def test_a_detectors_own_checkpoint_is_loaded_whole(tmp_path: Path) -> None:
    source, target = randomize(Detector(window=8)), Detector(classes=4, window=4)
    torch.save({"state_dict": source.state_dict(), "meta": {}}, tmp_path / "epoch_12.pth")
    report = load_pretrained(target, tmp_path / "epoch_12.pth")
    assert torch.equal(target.rpn_head.weight, source.rpn_head.weight)
    assert torch.equal(target.backbone.norm0.weight, source.backbone.norm0.weight)
    assert target.backbone.pretrained_window_size == ((8, 8),) * 4
    assert report.dropped == {"of another shape": ["roi_head.weight (3, 8) for (4, 8)", "roi_head.bias (3,) for (4,)"]}
    assert report.missing == ["roi_head.weight", "roi_head.bias"]
    assert "rpn_head.bias" in report.loaded
    assert "backbone.norm0.bias" in report.loaded


class Classifier(nn.Module):
    """``name``: where it keeps its head, as MMPretrain, Hugging Face or the authors do."""

    def __init__(self, name: str, classes: int = CLASSES) -> None:
        super().__init__()
        self.backbone = ours()
        for part in name.split(".")[:-1]:
            self.add_module(part, nn.Module())
        self.get_submodule(name.rpartition(".")[0]).add_module(name.rpartition(".")[2], nn.Linear(256, classes))
        self.name = name

    @property
    def linear(self) -> nn.Module:
        return self.get_submodule(self.name)


def test_a_detector_drops_a_classifiers_head() -> None:
    assert load_pretrained(Detector(), mmpretrain().state_dict).dropped == {"head": ["head.fc.weight", "head.fc.bias"]}


@EVERYONE
@pytest.mark.parametrize("name", ["head.fc", "classifier", "head"])
def test_a_classifier_takes_the_head_of_any_publisher(publisher: str, name: str, tmp_path: Path) -> None:
    published = MAKERS[publisher]()
    theirs = [published.state_dict[k] for k in published.state_dict if k.endswith((*HEADS["head.weight"],))]
    path = save(published, publisher, tmp_path, "swinv2_window4_64")
    model = Classifier(name)
    report = load_pretrained(model, path)
    assert [f"{name}.{part}" in report.loaded for part in ("weight", "bias")] == [bool(theirs)] * 2
    assert report.missing == ([] if theirs else [f"{name}.weight", f"{name}.bias"])
    assert "head" not in report.dropped
    if theirs:
        assert torch.equal(model.linear.weight, theirs[0])

    other = Classifier(name, classes=CLASSES + 1)
    before = other.linear.weight.clone()
    report = load_pretrained(other, path)
    assert torch.equal(other.linear.weight, before)
    assert report.missing == [f"{name}.weight", f"{name}.bias"]
    assert len(report.dropped.get("of another shape", [])) == (2 if theirs else 0)


def test_mmpretrains_classifier_on_our_backbone_computes_the_publishers_logits() -> None:
    from mmpretrain.models import ImageClassifier

    published = microsoft()
    model = ImageClassifier(
        backbone=dict(type="swinv2_dense.SwinTransformerV2", arch=ARCH, window_size=4, out_indices=(3,)),
        neck=dict(type="GlobalAveragePooling"),
        head=dict(type="LinearClsHead", num_classes=CLASSES, in_channels=256),
    ).eval()
    report = load_pretrained(model, published.state_dict)
    assert not report.missing
    x = torch.randn(2, 3, 64, 64)
    assert published.logits is not None
    torch.testing.assert_close(model.head(model.extract_feat(x)), published.logits(x), rtol=1e-4, atol=1e-4)


def test_mmengines_load_checkpoint_reads_another_publishers_detector(tmp_path: Path) -> None:
    """What ``load_from`` does in plain OpenMMLab programs: strict=False, children's part of the dict only."""
    published = mmpretrain()
    torch.save({"state_dict": published.state_dict}, tmp_path / "x.pth")
    detector = Detector()
    load_checkpoint(detector, str(tmp_path / "x.pth"), logger="silent")
    assert detector.backbone.pretrained_window_size == STAGES
    key = "stages.0.blocks.1.attn.w_msa.qkv.weight"
    assert torch.equal(detector.backbone.layers[0].blocks[1].attn.qkv.weight, published.state_dict[f"backbone.{key}"])


def test_a_bare_backbone_given_to_a_whole_model_is_refused_with_the_way_to_do_it(tmp_path: Path) -> None:
    torch.save(microsoft().state_dict, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"'backbone\.': use backbone\.init_cfg=dict\(type='Pretrained'"):
        Detector().load_state_dict(microsoft().state_dict, strict=False)
    torch.save({"model": microsoft().state_dict, "epoch": 299}, tmp_path / "wrapped.pth")
    for name in ("x.pth", "wrapped.pth"):
        with pytest.raises(UserError, match=r"is a backbone's alone"):
            load_checkpoint(Detector(), str(tmp_path / name), logger="silent")


def test_an_averaged_copy_loads() -> None:
    from mmengine.model import ExponentialMovingAverage

    model = ours(window=4, pretrained_window_size=3)
    ema = ExponentialMovingAverage(model)
    again = ExponentialMovingAverage(ours(window=4))
    again.load_state_dict(ema.state_dict())
    assert again.module.pretrained_window_size == ((3, 3),) * 4


def test_weights_reach_a_model_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = ours()
    model.load_state_dict(microsoft().state_dict, assign=True)
    assert all(p.device.type == "cpu" for p in model.parameters())
    assert model.pretrained_window_size == STAGES

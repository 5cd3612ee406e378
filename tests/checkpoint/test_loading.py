"""However weights arrive and whoever published them, the backbone computes what the publisher's model does."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.checkpoint.publishers import HEADS, clean
from swinv2_dense.errors import UserError
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2
from tests.checkpoint.makers import (
    CLASSES,
    MAKERS,
    PRETRAINED,
    huggingface,
    microsoft,
    mmpretrain,
    released_simmim,
    save,
    simmim,
    timm,
    torchvision,
)
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
    from swinv2_dense.checkpoint.renaming import from_authors, to_authors

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
    with pytest.raises(UserError, match=r"nothing says what the pre-training window.*pretrained_window_size"):
        load_pretrained(ours(), path)
    with pytest.raises(UserError, match="nothing says what the pre-training window"):
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


@pytest.mark.parametrize("make", [huggingface, released_simmim])
@pytest.mark.parametrize("key", ["", "module", "model_state_dict", "state_dict_ema"])
def test_a_bare_backbone_of_any_publisher_under_any_key_is_refused_by_a_whole_model(make: Any, key: str) -> None:
    weights = make().state_dict
    with pytest.raises(UserError, match=r"is a backbone's alone"):
        Detector().load_state_dict({key: weights} if key else weights, strict=False)


def test_a_head_that_is_not_finite_is_refused() -> None:
    weights = {f"backbone.{key}": value for key, value in microsoft().state_dict.items()}
    model = Detector()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match=r"roi_head\.weight holds a number that is not finite"):
        load_pretrained(model, {**weights, "roi_head.weight": torch.full((3, 8), math.nan)})
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


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


@pytest.mark.parametrize("window", [4, 8])
@torch.no_grad()
def test_torchvisions_weights_compute_what_torchvisions_model_does(window: int, tmp_path: Path) -> None:
    published = torchvision(window)
    torch.save(published.state_dict, tmp_path / "swin_v2.pth")
    model = ours(window)
    report = load_pretrained(model, tmp_path / "swin_v2.pth")
    assert report.publisher == "torchvision"
    assert report.dropped == {"head": ["head.weight", "head.bias"]}
    assert not report.unexpected
    x = torch.randn(1, 3, 32 * window, 32 * window)
    torch.testing.assert_close(model(x)[-1], published.features(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_simmim_weights_that_the_authors_released_load(tmp_path: Path) -> None:
    published = released_simmim()
    assert any("rpe_mlp" in key for key in published.state_dict)
    model = ours()
    report = load_pretrained(model, save(published, "simmim", tmp_path))
    assert report.publisher == "simmim"
    assert not report.unexpected
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(model(x)[-1], published.features(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("tuned", "name", "last"),
    [
        (False, "swinv2_small_1kper10_125k", 6),
        (False, "swinv2_giant_22k_500k", 6),
        (True, "finetune_swinv2_huge_1k_500k", 6),
    ],
)
def test_a_simmim_release_without_tables_has_the_windows_of_its_recipe(
    tuned: bool, name: str, last: int, tmp_path: Path
) -> None:
    content = {k: v for k, v in released_simmim().state_dict.items() if "coords_table" not in k}
    torch.save({"model": content}, tmp_path / f"{name}.pth")
    model = ours()
    report = load_pretrained(model, tmp_path / f"{name}.pth")
    assert model.pretrained_window_size == ((12, 12), (12, 12), (12, 12), (last, last))
    assert ("finetune" in report.window_source) == tuned


@pytest.mark.parametrize(
    ("arch", "millions"),
    [
        ("small", 49),
        ("base", 87),
        ("large", 195),
        (dict(embed_dims=352, depths=[2, 2, 18, 2], num_heads=[11, 22, 44, 88]), 655),
        (dict(embed_dims=448, depths=[2, 2, 18, 2], num_heads=[14, 28, 56, 112]), 1060),
    ],
)
def test_all_sizes_of_the_simmim_releases_can_be_built(arch: Any, millions: int) -> None:
    """Parameters as the authors' table counts them; their huge and giant, without extra norms, are not the paper's."""
    with torch.device("meta"):
        model = SwinTransformerV2(arch, out_indices=(3,))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_the_refusal_gives_the_arch_to_copy() -> None:
    model = SwinTransformerV2({**ARCH, "extra_norm_every_n_blocks": 2}, window_size=4)
    with pytest.raises(UserError, match=r"arch=dict\(embed_dims=32, depths=\(2, 2, 2, 2\), num_heads=\(1, 2, 4, 8\)\)"):
        load_pretrained(model, released_simmim().state_dict)
    with pytest.raises(UserError, match="extra_norm_every_n_blocks=2"):
        load_pretrained(ours(), mmpretrain(extra_norms=2).state_dict)


def _wrapped(name: str, way: str) -> str:
    if way == "inside blocks":
        return re.sub(r"(blocks\.\d+|blocks\.\d+\.\w+)\.(?=attn)", r"\1._checkpoint_wrapped_module.", name)
    if way == "compiled blocks":
        return re.sub(r"((?:blocks|features)\.\d+(?:\.\d+)?)\.", r"\1._orig_mod.", name)
    return f"{way}.{name}"


@pytest.mark.parametrize(
    "way", ["module", "_orig_mod", "module._orig_mod", "_fsdp_wrapped_module", "inside blocks", "compiled blocks"]
)
@pytest.mark.parametrize("publisher", [*MAKERS, "ours"])
def test_what_wrappers_add_to_names_does_not_matter(publisher: str, way: str, tmp_path: Path) -> None:
    plain = randomize(ours()).state_dict() if publisher == "ours" else MAKERS[publisher]().state_dict
    models = [ours(), ours(), ours()]
    reports = [load_pretrained(models[0], plain, PRETRAINED)]
    wrapped = {_wrapped(key, way): value for key, value in plain.items()}
    torch.save({"state_dict": wrapped}, tmp_path / "x.pth")
    reports.append(load_pretrained(models[1], tmp_path / "x.pth", PRETRAINED))
    assert reports[0].loaded == reports[1].loaded
    models[2].pretrained_window_given = models[0].pretrained_window_size
    models[2].load_state_dict(wrapped)
    for other in models[1:]:
        assert other.pretrained_window_size == models[0].pretrained_window_size
        assert all(torch.equal(v, other.state_dict()[k]) for k, v in models[0].state_dict().items())


def test_a_detector_saved_by_a_wrapper_loads_whole(tmp_path: Path) -> None:
    source = randomize(Detector())
    for prefix in ("module.", "_orig_mod.", "module._orig_mod."):
        torch.save({"state_dict": {prefix + k: v for k, v in source.state_dict().items()}}, tmp_path / "x.pth")
        target = Detector()
        report = load_pretrained(target, tmp_path / "x.pth")
        assert not report.missing
        assert torch.equal(target.rpn_head.weight, source.rpn_head.weight)
        assert torch.equal(target.backbone.norm0.weight, source.backbone.norm0.weight)


def _compiled_blocks() -> nn.Module:
    model = Detector()
    for stage in model.backbone.layers:
        for i, block in enumerate(stage.blocks):
            stage.blocks[i] = torch.compile(block)
    return model


def _checkpointed_blocks() -> nn.Module:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    model = Detector()
    for stage in model.backbone.layers:
        for i, block in enumerate(stage.blocks):
            stage.blocks[i] = checkpoint_wrapper(block)
    return model


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.compile(Detector()),
        _compiled_blocks,
        _checkpointed_blocks,
        lambda: nn.ModuleDict({"module": Detector()}),
        lambda: torch.optim.swa_utils.AveragedModel(Detector()),
    ],
    ids=["compiled", "compiled blocks", "checkpointed blocks", "module", "average"],
)
def test_weights_reach_a_model_with_wrappers(make: Callable[[], nn.Module], own: bool, tmp_path: Path) -> None:
    source = randomize(Detector()).state_dict() if own else microsoft().state_dict
    torch.save({"state_dict": source}, tmp_path / "x.pth")
    model, plain = make(), Detector()
    report = load_pretrained(model, tmp_path / "x.pth")
    expected = load_pretrained(plain, tmp_path / "x.pth")
    assert len(report.loaded) == len(expected.loaded)
    found = {clean(key): value for key, value in model.state_dict().items()}
    for key, value in plain.state_dict().items():
        if own or key.startswith("backbone."):  # the rest is random
            assert torch.equal(found[key], value), key


@pytest.mark.parametrize(
    "window", [torch.tensor([0, 0]), torch.tensor([-4, 4]), torch.tensor([1 << 62, 8]), torch.tensor([math.nan, 8.0])]
)
@pytest.mark.parametrize("whole", [True, False])
def test_saved_windows_that_are_none_are_refused(window: Tensor, whole: bool) -> None:
    content = ours().state_dict()
    content["layers.2.pretrained_window_size"] = window
    if not whole:
        del content["layers.0.pretrained_window_size"]
    with pytest.raises(UserError, match=r"layers\.2\.pretrained_window_size"):
        ours().load_state_dict(content, strict=False)
    if whole:
        with pytest.raises(UserError, match=r"layers\.2\.pretrained_window_size"):
            load_pretrained(ours(), content)


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_weights_of_rgb_images_are_adapted_to_other_channels_as_timm_does(channels: int) -> None:
    from timm.models import adapt_input_conv

    content = microsoft().state_dict
    model = ours(in_channels=channels)
    report = load_pretrained(model, content)
    expected = adapt_input_conv(channels, content["patch_embed.proj.weight"])
    torch.testing.assert_close(model.patch_embed.proj.weight, expected)
    assert f"from 3 channels to {channels}" in str(report)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (dict(in_channels=4), "in_channels"),
        (dict(patch_size=2), "patch_size"),
        (dict(mlp_ratio=2.0), "mlp_ratio"),
        (dict(qkv_bias=False), "qkv_bias"),
        (dict(position_bias="table"), "position_bias"),
    ],
)
def test_the_refusal_names_the_argument_that_differs(options: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=f"set the backbone's {key} to the checkpoint's, or take another checkpoint$"):
        load_pretrained(ours(**options), ours().state_dict())


def test_image_weights_of_ours_come_into_a_video_model_by_load_state_dict_too() -> None:
    image, video = ours(window=4, pretrained_window_size=3), VideoSwinTransformerV2(ARCH, window_size=(2, 4, 4))
    by_hand = VideoSwinTransformerV2(ARCH, window_size=(2, 4, 4))
    load_pretrained(by_hand, image.state_dict())
    video.load_state_dict(image.state_dict())
    assert video.pretrained_window_size == ((2, 3, 3),) * 4
    assert all(torch.equal(value, by_hand.state_dict()[name]) for name, value in video.state_dict().items())
    for load in (image.load_state_dict, lambda state_dict: load_pretrained(image, state_dict)):
        with pytest.raises(UserError, match="weights of clips do not fit a model of images"):
            load(video.state_dict())


@pytest.mark.parametrize("source", [None, 5, b"weights.pth", nn.Linear(2, 2), ["a.pth"]])
def test_what_no_weights_can_be_read_from(source: Any) -> None:
    with pytest.raises(UserError, match=f"cannot read weights from a {type(source).__name__}: give a path"):
        load_pretrained(ours(), source)


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda t: t.to("meta"), "a shape but no numbers"), (lambda t: t.to_sparse(), "not a dense tensor")],
)
def test_the_tensors_of_a_dict_are_looked_at_as_those_of_a_file(change: Callable[[Tensor], Tensor], said: str) -> None:
    content = microsoft().state_dict
    content["layers.1.downsample.reduction.weight"] = change(content["layers.1.downsample.reduction.weight"])
    with pytest.raises(UserError, match=rf"layers\.1\.downsample\.reduction\.weight.* {said}"):
        load_pretrained(ours(), content)


def test_the_refusal_of_an_unknown_window_gives_the_option(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--cfg-options model\.backbone\.pretrained_window_size=8"):
        load_pretrained(ours(), timm().state_dict)


def test_a_file_of_timms_training_says_its_windows_whatever_its_folder_is_called(tmp_path: Path) -> None:
    """timm clamps windows to the map: tuned at 224 pixels the last stage's is 7, not the 8 of the name."""
    import argparse

    folder = tmp_path / "swinv2_tiny_window8_256"
    folder.mkdir()
    cases = [
        ("swinv2_tiny_window8_256", dict(img_size=224), (8, 8, 8, 7)),
        ("swinv2_tiny_window8_256", dict(img_size=None, input_size=(3, 512, 512)), (8, 8, 8, 8)),
        ("swinv2_tiny_window16_256", dict(), (16, 16, 16, 8)),
        ("swinv2_base_window12to24_192to384", dict(img_size=512), (12, 12, 12, 6)),
        ("swinv2_tiny_window8_256", dict(img_size=224, model_kwargs=dict(window_size=7)), (7, 7, 7, 7)),
    ]
    for arch, arguments, windows in cases:
        content = {"arch": arch, "args": argparse.Namespace(**arguments), "state_dict": timm().state_dict}
        torch.save(content, folder / "model_best.pth.tar")
        report = load_pretrained(ours(), folder / "model_best.pth.tar")
        assert report.pretrained_windows == tuple((w, w) for w in windows)
        assert "the architecture in the checkpoint" in report.window_source


def test_of_two_sets_of_weights_the_report_names_the_one_that_was_loaded(tmp_path: Path) -> None:
    average = dict(microsoft().state_dict)
    average["norm.bias"] = average["norm.bias"] + 1
    torch.save({"state_dict": microsoft().state_dict, "state_dict_ema": average}, tmp_path / "x.pth")
    model = ours()
    line = str(load_pretrained(model, tmp_path / "x.pth"))
    assert "state_dict; the file also holds state_dict_ema: FILE#state_dict_ema takes that one" in line
    load_pretrained(model, f"{tmp_path}/x.pth#state_dict_ema")
    assert torch.equal(model.norm3.bias, average["norm.bias"])

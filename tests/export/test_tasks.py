"""What a file computes is what the model itself predicts, whichever head decides how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.export import export, exporting, load, tasks
from swinv2_dense.export.tasks import exportable
from swinv2_dense.models import SwinTransformerV2
from tests.models.oracles import randomize

ARCH = dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2])
BACKBONE = dict(type="swinv2_dense.SwinTransformerV2", arch=ARCH, window_size=4)
IMAGES = (2, 3, 40, 56)


def build(library: str, config: dict[str, Any]) -> Any:
    from mmengine.registry import MODELS, DefaultScope

    pytest.importorskip(f"{library}.models", reason=f"needs {library}")
    with DefaultScope.overwrite_default_scope(library):
        return randomize(MODELS.build(config)).eval()


def classifier(head: dict[str, Any], pool: bool = True, **options: Any) -> Any:
    neck = dict(neck=dict(type="GlobalAveragePooling")) if pool else {}
    backbone = {**BACKBONE, "out_indices": (1,), **options}
    return build("mmpretrain", dict(type="ImageClassifier", backbone=backbone, head=head, **neck))


def computed(model: Any, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, str]:
    """What the file gives, what the model predicts, and the activation that the file notes."""
    x, what = torch.randn(shape), exportable(model)
    with torch.no_grad():
        (output,), (wanted,) = what.module(x), what.reference(x)
    return output, wanted, what.notes["activation"]


@pytest.mark.parametrize(
    ("head", "pool", "activation"),
    [
        (dict(type="LinearClsHead", num_classes=5, in_channels=16), True, "softmax"),
        (dict(type="ArcFaceClsHead", num_classes=5, in_channels=16), True, "softmax"),
        (dict(type="MultiLabelClsHead"), True, "sigmoid"),
        (dict(type="MultiLabelLinearClsHead", num_classes=5, in_channels=16, thr=0.4), True, "sigmoid"),
        (dict(type="MultiLabelLinearClsHead", num_classes=1, in_channels=16, topk=1), True, "sigmoid"),
        (dict(type="CSRAClsHead", num_classes=5, in_channels=16, num_heads=2, lam=0.1), False, "sigmoid"),
    ],
)
def test_a_classifiers_head_decides_what_scores_are(head: dict[str, Any], pool: bool, activation: str) -> None:
    model = classifier(head, pool)
    output, wanted, found = computed(model, IMAGES)
    assert found == activation
    torch.testing.assert_close(output, wanted)
    own = torch.stack([sample.pred_score for sample in model.predict(torch.zeros(IMAGES))])
    torch.testing.assert_close(exportable(model).module(torch.zeros(IMAGES))[0], own)


def test_a_head_that_gives_its_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(dict(type="LinearClsHead", num_classes=5, in_channels=16))
    kind = type(model.head)

    class Plain(kind):  # type: ignore[misc, valid-type]
        def predict(self, feats: Any, data_samples: Any = None) -> Any:
            from mmpretrain.structures import DataSample

            return [DataSample().set_pred_score(scores) for scores in self(feats)]

    class Tempered(Plain):
        def predict(self, feats: Any, data_samples: Any = None) -> Any:
            from mmpretrain.structures import DataSample

            return [DataSample().set_pred_score(scores) for scores in (self(feats) / 3).softmax(-1)]

    model.head.__class__ = Plain
    output, wanted, activation = computed(model, IMAGES)
    assert activation == "none"
    torch.testing.assert_close(output, wanted)
    model.head.__class__ = Tempered
    with pytest.raises(UserError, match="its head gives neither logits"):
        exportable(model)


def test_heads_of_several_tasks_are_refused() -> None:
    one = dict(type="LinearClsHead", num_classes=5)
    model = classifier(dict(type="MultiTaskHead", task_heads=dict(a=one, b=one), in_channels=16))
    with pytest.raises(UserError, match="ImageClassifier cannot be exported: its head gives neither logits"):
        exportable(model)


@pytest.mark.parametrize(("average", "activation"), [("prob", "softmax"), ("score", "none"), (None, "none")])
def test_a_recogniser_averages_clips_as_its_head_does(average: str | None, activation: str) -> None:
    pytest.importorskip("swinv2_dense.compat.mmaction_imports", reason="needs mmaction2")
    backbone = {**BACKBONE, "type": "swinv2_dense.VideoSwinTransformerV2", "window_size": (2, 4, 4), "out_indices": 1}
    head = dict(type="I3DHead", in_channels=16, num_classes=6, spatial_type="avg", average_clips=average)
    model = build("mmaction", dict(type="Recognizer3D", backbone=backbone, cls_head=head))
    output, wanted, found = computed(model, (2, 3, 4, 32, 40))
    assert found == activation
    torch.testing.assert_close(output, wanted)


def segmenter(backbone: dict[str, Any] | None = None, **head: Any) -> Any:
    options = dict(in_channels=[8, 16], in_index=[0, 1], pool_scales=(1, 2), channels=8, align_corners=False)
    options |= dict(type="UPerHead", norm_cfg=dict(type="BN")) | head
    cfg = dict(
        type="EncoderDecoder", backbone={**BACKBONE, "out_indices": (0, 1), **(backbone or {})}, decode_head=options
    )
    return build("mmseg", {**cfg, "test_cfg": dict(mode="whole")})


@pytest.mark.parametrize(
    ("head", "notes"),
    [
        (dict(num_classes=3), {}),
        (
            dict(num_classes=2, out_channels=1, threshold=0.6, loss_decode=dict(type="CrossEntropyLoss")),
            {"threshold": 0.6},
        ),
        (dict(num_classes=3, align_corners=True, loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=True)), {}),
    ],
)
def test_a_segmenters_logits(head: dict[str, Any], notes: dict[str, Any]) -> None:
    """Of one channel mmseg predicts the sigmoid, and its file notes the threshold."""
    model = segmenter(**head)
    what, x = exportable(model), torch.randn(IMAGES)
    assert what.notes == notes
    with torch.no_grad():
        (output,), (wanted,) = what.module(x), what.reference(x)
        torch.testing.assert_close(what.as_predicted("logits", output), wanted)
    assert output.min() < 0 and output.shape == (2, 1 if notes else 3, 40, 56)


@torch.no_grad()
def test_adapters_of_peft() -> None:
    """In the backbone, which computes with them, or around the model, where they are merged first."""
    peft = pytest.importorskip("peft", reason="needs peft")
    config = peft.LoraConfig(target_modules=["qkv", "proj", "fc1"], r=2, init_lora_weights=False)
    model, x = segmenter(num_classes=3), torch.randn(IMAGES)
    plain = exportable(model).reference(x)[0]
    model.backbone = peft.get_peft_model(model.backbone, config).eval()
    what = exportable(model)
    torch.testing.assert_close(what.module(x), what.reference(x), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(what.reference(x)[0], plain, atol=1e-3)
    around = peft.get_peft_model(segmenter(num_classes=3), config).eval()
    with pytest.raises(UserError, match=r"merge what was trained, model\.merge_and_unload\(\)"):
        exportable(around)
    merged = exportable(around.merge_and_unload())
    torch.testing.assert_close(merged.module(x), merged.reference(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_images_of_other_channels(channels: int) -> None:
    """Of every kind: heads are asked, and files traced and checked, with images that the model takes."""
    pytest.importorskip("swinv2_dense.compat.mmaction_imports", reason="needs mmaction2")
    backbone = {**BACKBONE, "in_channels": channels}
    bare = SwinTransformerV2(ARCH, window_size=4, in_channels=channels, out_indices=(1,)).eval()
    video = {**backbone, "type": "swinv2_dense.VideoSwinTransformerV2", "window_size": (2, 4, 4), "out_indices": 1}
    models = [
        bare,
        classifier(dict(type="LinearClsHead", num_classes=5, in_channels=16), in_channels=channels),
        segmenter(dict(in_channels=channels), num_classes=3),
        build(
            "mmaction",
            dict(
                type="Recognizer3D",
                backbone=video,
                cls_head=dict(type="I3DHead", in_channels=16, num_classes=6, spatial_type="avg", average_clips="prob"),
            ),
        ),
    ]
    for model in models:
        what = exportable(model)
        for (x,) in exporting._inputs(model, what, (40, 56), 4):
            assert x.shape[1] == channels
            with torch.no_grad():
                torch.testing.assert_close(what.module(x), what.reference(x), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_file_of_another_number_of_channels(tmp_path: Path) -> None:
    model = randomize(
        SwinTransformerV2(dict(embed_dims=8, depths=[1], num_heads=[1]), window_size=4, in_channels=5, out_indices=(0,))
    )
    report = export(model, tmp_path / "model.pt2", size=(24, 40))
    assert report.metadata["channels"] == 5 and report.error < 1e-4
    exported = load(report.path)
    assert exported(np.zeros((1, 5, 24, 40), np.float32))["stage0"].shape == (1, 8, 6, 10)
    with pytest.raises(UserError, match="takes images of 5 channels, not 3"):
        exported(np.zeros((1, 3, 24, 40), np.float32))


@pytest.mark.slow
def test_a_file_is_compared_with_what_the_model_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not with the function that was written."""
    model = classifier(dict(type="MultiLabelLinearClsHead", num_classes=5, in_channels=16))
    assert export(model, tmp_path / "scores.pt2", size=(32, 32)).metadata["activation"] == "sigmoid"
    monkeypatch.setattr(tasks, "_activation", lambda *_: "softmax")
    with pytest.raises(UserError, match="nothing was written"):
        export(model, tmp_path / "other.pt2", size=(32, 32))
    assert [file.name for file in tmp_path.iterdir()] == ["scores.pt2"]


def test_what_has_no_head_that_predicts() -> None:
    model = classifier(dict(type="LinearClsHead", num_classes=5, in_channels=16))
    model.head = nn.Identity()
    with pytest.raises(UserError, match="has no head that predicts"):
        exportable(model)

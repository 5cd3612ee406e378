"""Files of small models of every kind, opened by their runtimes; what is wrong leaves none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from swinv2_dense.config_files import find_config
from swinv2_dense.errors import UserError
from swinv2_dense.export import ExportedModel, export, exporting, load
from swinv2_dense.export.checking import check
from swinv2_dense.export.tasks import Exportable, exportable
from swinv2_dense.models import SwinTransformerV2
from tests.models.oracles import randomize, relative_error

pytest.importorskip("onnxscript", reason="exporting needs the export extra")
onnx = pytest.importorskip("onnx", reason="exporting needs the export extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="exporting needs the export extra")

ARCH = dict(embed_dims=16, depths=[2], num_heads=[1])
BACKBONE = dict(
    type="swinv2_dense.SwinTransformerV2",
    arch=dict(embed_dims=16, depths=[1, 2], num_heads=[1, 2]),
    window_size=4,
    out_indices=(0, 1),
)


def small(**kwargs: Any) -> SwinTransformerV2:
    options = {"window_size": 5, "pretrained_window_size": 3, "out_indices": (0,), **kwargs}
    return randomize(SwinTransformerV2(ARCH, **options))  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_backbone_takes_images_of_any_size(tmp_path: Path, suffix: str) -> None:
    model = small()
    report = export(model, tmp_path / f"backbone{suffix}", metadata={"classes": ["cat"]})
    assert report.error < 1e-4
    assert len({d.shape[2:] for d in report.checked}) == 3 and len({d.shape[0] for d in report.checked}) == 2
    assert [file.name for file in tmp_path.iterdir()] == [f"backbone{suffix}"]
    if suffix == ".onnx":
        assert_standard(report.path)
        kinds = [node.op_type for node in onnx.load(report.path).graph.node]
        assert kinds.count("Gelu") == 2 and "LayerNormalization" in kinds and "Erf" not in kinds
    exported = load(tmp_path / f"backbone{suffix}")
    assert exported.metadata["classes"] == ["cat"]
    assert exported.metadata["window_size"] == [[5, 5]] and exported.metadata["pretrained_window_size"] == [[3, 3]]
    # none of those that it was checked with; torch's programs need two tokens in the last stage
    tiny = ((1, 3, 1, 1), (3, 3, 8, 100)) if suffix == ".onnx" else ((3, 3, 12, 100),)
    for shape in ((1, 3, 97, 61), *tiny):
        x = torch.randn(shape)
        found = [torch.from_numpy(output) for output in exported(x.numpy()).values()]
        with torch.no_grad():
            assert relative_error(tuple(found), list(model(x))) < 1e-4


@pytest.mark.slow
def test_one_size_and_half_precision(tmp_path: Path) -> None:
    report = export(small(pad_attention="zeros"), tmp_path / "half.onnx", size=(40, 56), half=True)
    assert 0 < report.error < 5e-2
    exported = load(report.path)
    assert exported.metadata["precision"] == "fp16"
    with pytest.raises(UserError, match="takes images of 40 x 56 pixels, not 40 x 40"):
        exported(np.zeros((1, 3, 40, 40), np.float32))


@pytest.mark.parametrize("change", ["bfloat16", "half", "double", "train"])
def test_the_models_precision_and_mode_do_not_matter(change: str) -> None:
    """Written and compared is its copy in float32, in evaluation mode; the model itself stays as it was."""
    model = getattr(small(drop_path_rate=0.5, frozen_stages=1), change)()
    modes = {name: module.training for name, module in model.named_modules()}
    dtype = next(model.parameters()).dtype
    with exporting._plain(model) as plain:
        assert all(p.dtype == torch.float32 for p in plain.parameters())
        assert not any(module.training for module in plain.modules())
        assert (plain is model) == (dtype == torch.float32)
        what, x = exportable(plain), torch.randn(2, 3, 33, 47)
        with torch.no_grad():
            torch.testing.assert_close(what.module(x), what.reference(x), atol=1e-5, rtol=1e-4)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert next(model.parameters()).dtype == dtype


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"without weights \(device meta\)"):
        export(small().to("meta"), tmp_path / "model.onnx")


@pytest.mark.parametrize("window", [4, (3, 9), 24, [4, 30]])
def test_it_is_traced_with_several_windows_in_every_stage(window: Any) -> None:
    """One window would be taken for a constant, and larger images would fail."""
    arch = dict(embed_dims=16, depths=[1, 2], num_heads=[1, 2])
    model = SwinTransformerV2(arch, window_size=window, out_indices=(0, 1))
    size = exporting._many_windows(model)
    for stage, windows in enumerate(model.window_size):
        assert all(-(-n // (4 * 2**stage)) > w for n, w in zip(size, windows))
    assert size[0] != size[1]


@pytest.mark.slow
def test_from_one_window_in_late_stages_to_many(tmp_path: Path) -> None:
    arch = dict(embed_dims=8, depths=[1, 2], num_heads=[1, 2])
    model = randomize(SwinTransformerV2(arch, window_size=12, out_indices=(1,)))
    exported = load(export(model, tmp_path / "backbone.onnx").path)
    for shape in ((1, 3, 80, 90), (1, 3, 200, 310)):
        x = torch.randn(shape)
        with torch.no_grad():
            assert relative_error((torch.from_numpy(exported(x.numpy())["stage1"]),), list(model(x))) < 1e-4


def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def __call__(self, images: Any) -> dict[str, Any]:
            with torch.no_grad():
                return {"stage0": small()(torch.from_numpy(images))[0].numpy()}

    monkeypatch.setattr(exporting, "_program", lambda *_: None)
    monkeypatch.setattr(exporting, "_write", lambda program, what, path, notes: path.write_text("a file"))
    monkeypatch.setattr(exporting, "load", lambda path: Other())
    with pytest.raises(UserError, match="nothing was written: of an input of 2 x 3 x 33 x 29"):
        export(small(), tmp_path / "new" / "other.onnx")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("model", "path", "message"),
    [
        (small(), "model.engine", "its ending names the format"),
        (nn.Linear(2, 2), "model.onnx", "Linear has no SwinV2 of ours"),
    ],
)
def test_what_cannot_be_exported(model: nn.Module, path: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        export(model, tmp_path / path)
    assert list(tmp_path.iterdir()) == []


class Branching(nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (images if images.sum() > 0 else -images,)


class Foreign(nn.Module):
    """An operator that ONNX lacks."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.ops.swinv2_dense.nms_keep(images.flatten(2).mT[..., :1].expand(-1, -1, 4), images[:, 0, 0], 0.5),)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Branching(), "a SwinTransformerV2 cannot be exported: GuardOnDataDependentSymNode: "),
        (Foreign(), "a SwinTransformerV2 cannot be exported: .*swinv2_dense.nms_keep"),
    ],
)
def test_what_the_exporters_do_not_follow_is_named(
    module: nn.Module, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = Exportable("features", module, lambda x: module(x), ("out",), any_size=True)
    monkeypatch.setattr(exporting, "exportable", lambda model: what)
    with pytest.raises(UserError, match=message):
        export(small(), tmp_path / "model.onnx", size=(8, 8))
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path / "model.onnx")
    for name in ("model.onnx", "model.pt2"):
        (tmp_path / name).write_text("text")
        with pytest.raises(UserError, match="cannot read"):
            load(tmp_path / name)
    (tmp_path / "model.pth").write_text("")
    with pytest.raises(UserError, match=r"end in \.onnx or \.pt2"):
        load(tmp_path / "model.pth")


def build(library: str, config: dict[str, Any]) -> nn.Module:
    from mmengine.registry import MODELS, DefaultScope

    pytest.importorskip(f"{library}.models", reason=f"needs {library}")
    with DefaultScope.overwrite_default_scope(library):
        return randomize(MODELS.build(config))


@pytest.mark.slow
def test_a_video_recogniser(tmp_path: Path) -> None:
    pytest.importorskip("swinv2_dense.compat.mmaction_imports", reason="needs mmaction2")
    video = dict(type="swinv2_dense.VideoSwinTransformerV2", window_size=(2, 4, 4), out_indices=1)
    model = build(
        "mmaction",
        dict(
            type="Recognizer3D",
            backbone={**BACKBONE, **video},
            cls_head=dict(type="I3DHead", in_channels=32, num_classes=6, spatial_type="avg"),
        ),
    )
    assert export(model, tmp_path / "video.onnx", size=(48, 40), frames=4).error < 1e-4


def detector(name: str, **backbone: Any) -> Any:
    """A detector of a config of ours with narrow layers."""
    from mmengine.config import Config

    whole = Config.fromfile(find_config(name))
    cfg = whole.model
    cfg.backbone.arch = dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])
    cfg.backbone.update(window_size=4, init_cfg=None, **backbone)
    cfg.neck.in_channels = [8, 16, 32, 64]
    cfg.test_cfg.rpn.update(nms_pre=60, max_per_img=30)
    cfg.test_cfg.rcnn.update(max_per_img=10, score_thr=0.01)  # that some are found
    model: Any = build("mmdet", cfg)
    model.cfg = whole
    for name, p in model.named_parameters():
        if p.ndim > 1 and any(part in name for part in ("fc_cls", "conv_logits", "rpn_cls")):
            # scores apart from each other; those of 1 would be equal, and their order free
            nn.init.normal_(p, std=0.01 if "rpn" in name else 0.1)
    return model


@pytest.mark.parametrize(
    "name",
    ["faster_rcnn_swinv2_t", "mask_rcnn_swinv2_t", "cascade_rcnn_swinv2_t", "htc_without_semantic_swinv2_t"],
)
def test_detectors_of_padded_images(name: str) -> None:
    """What is traced gives mmdet's boxes of a batch whose images have sizes of their own, of any number of channels."""
    from tests.export.test_deformable import traced

    model = detector(name, in_channels=4)
    what = exportable(model)
    inputs = exporting._inputs(model, what, (96, 128), 0)
    (images, sizes), _ = inputs
    assert images.shape == (2, 4, 96, 128) and sizes.tolist() == [[96, 128], [68, 103]]
    assert not images[1, :, 68:].any() and not images[1, :, :, 103:].any() and images[1, :, :68, :103].all()
    file = traced(model)
    assert max(d.error for d in check(file, what, inputs, "fp32", model)) < 1e-4
    with pytest.raises(UserError, match="nothing was written"):  # the padding for a part of the image
        check(
            ExportedModel(lambda x, _: file._run(x, np.array([[96, 128]] * len(x), np.float32)), file.metadata, ""),
            what,
            inputs,
            "fp32",
            model,
        )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "suffix"), [("mask_rcnn_swinv2_t", ".onnx"), ("cascade_mask_rcnn_swinv2_t", ".pt2")])
def test_a_detector_box_by_box(name: str, suffix: str, tmp_path: Path) -> None:
    """Boxes by class and for all classes, masks of one head and of several. HTC, a cascade with Soft-NMS, becomes ONNX
    in tests/inference/test_exported_model.py, as segmenters do."""
    model = detector(name)
    report = export(model, tmp_path / f"detector{suffix}", size=(96, 128))
    assert report.error < 1e-4
    outputs = load(report.path)(np.random.default_rng(0).standard_normal((3, 3, 96, 128)).astype(np.float32))
    assert outputs["boxes"].shape == (3, 10, 4)
    assert outputs["masks"].shape[:2] == (3, 10)
    assert (outputs["labels"] >= 0).any()
    if suffix == ".onnx":
        assert_standard(report.path)
        text = {p.key: p.value for p in onnx.load(report.path).metadata_props}["swinv2_dense"]
        assert json.loads(text)["task"] == "detection"


def assert_standard(path: Path) -> None:
    """No operator of ours or of anybody's but ONNX's, and none hidden in a function or a branch."""
    model = onnx.load(path)
    inner = [node for function in model.functions for node in function.node]
    nodes = [*model.graph.node, *inner]
    nodes += [n for node in nodes for a in node.attribute for n in a.g.node]
    assert {node.domain for node in nodes} <= {"", "ai.onnx"}
    assert {opset.domain for opset in model.opset_import} <= {"", "ai.onnx"}


def test_detectors_are_refused_in_half_precision(tmp_path: Path) -> None:
    from tests.export.test_deformable import small as deformable

    models = [detector("faster_rcnn_swinv2_t"), deformable("dino_swinv2_t"), deformable("mask2former_swinv2_t")]
    for model in (*models, deformable("ade20k/mask2former_swinv2_b", "mmseg")):
        with pytest.raises(UserError, match=f"--half: a {type(model).__name__} can be exported in float32 only"):
            export(model, tmp_path / "model.onnx", size=(64, 96), half=True)
    assert list(tmp_path.iterdir()) == []


def test_detectors_need_a_size_and_a_known_form(tmp_path: Path) -> None:
    model = detector("mask_rcnn_swinv2_t")
    with pytest.raises(UserError, match="for one size of image only"):
        export(model, tmp_path / "detector.onnx")
    model.rpn_head.__class__ = type("Other", (type(model.rpn_head),), {})
    with pytest.raises(UserError, match="it has a Other, known is RPNHead"):
        export(model, tmp_path / "detector.onnx", size=(64, 64))
    assert list(tmp_path.iterdir()) == []

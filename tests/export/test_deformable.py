"""Deformable attention and the models around it, in the operators of a graph, give what mmcv's and mmdet's give."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from swinv2_dense.config_files import find_config
from swinv2_dense.errors import UserError
from swinv2_dense.export import export, load
from swinv2_dense.export.checking import check
from swinv2_dense.export.loaded import ExportedModel
from swinv2_dense.export.tasks import exportable

mmdet = pytest.importorskip("mmdet.models", reason="needs mmdet")

SHAPES = [(6, 9), (3, 5), (1, 2)]


def small(name: str, scope: str = "mmdet") -> Any:
    """A model of a config of ours with few and narrow layers, whose scores are apart from each other."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    pytest.importorskip(f"{scope}.models", reason=f"needs {scope}")
    cfg = Config.fromfile(find_config(name)).model
    cfg.backbone.update(arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]), window_size=4)
    if cfg.type == "DINO":
        cfg.update(num_queries=20, test_cfg=dict(max_per_img=15))
        cfg.neck.in_channels = [8, 16, 32, 64]
        cfg.encoder.num_layers = cfg.decoder.num_layers = 1
    else:
        head = cfg.get("panoptic_head") or cfg.decode_head
        head.update(in_channels=[8, 16, 32, 64], num_queries=6)
        head.pixel_decoder.encoder.num_layers = head.transformer_decoder.num_layers = 1
        if cfg.type == "Mask2Former":
            cfg.test_cfg.max_per_image = 10
    kept = Config(dict(default_scope=scope, model=copy.deepcopy(cfg)))
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg).eval()
    model.cfg = kept
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            wide = any(part in name for part in ("cls_", "mask_embed", "attention_weights"))
            nn.init.normal_(parameter, std=0.2 if wide else 0.05)
    return model


def traced(model: Any, **metadata: Any) -> ExportedModel:
    """What is traced in the place of the file."""
    what = exportable(model)

    def run(*inputs: Any) -> dict[str, Any]:
        with torch.no_grad():
            outputs = what.module(*map(torch.from_numpy, inputs))
        return dict(zip(what.outputs, (out.numpy() for out in outputs), strict=True))

    inputs = ["images", "sizes"] if what.sizes else ["images"]
    notes = {"task": what.task, "inputs": inputs, "outputs": list(what.outputs), "size": None, **what.notes}
    return ExportedModel(run, {**notes, **metadata}, "model.onnx")


def compared(model: Any, *sizes: tuple[int, int]) -> float:
    """The largest difference between what is traced and what the model predicts, as a file's check finds it."""
    what = exportable(model)
    checked = check(traced(model), what, [(torch.randn(2, 3, *size),) for size in sizes], "fp32", model)
    return max(deviation.error for deviation in checked)


@pytest.mark.parametrize("coordinates", [2, 4])
@torch.no_grad()
def test_attention_is_mmcvs(coordinates: int) -> None:
    from mmcv.ops import MultiScaleDeformableAttention

    from swinv2_dense.export.deformable import TraceableDeformableAttention

    theirs = MultiScaleDeformableAttention(16, 2, num_levels=3, num_points=4, batch_first=True).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    tokens = sum(h * w for h, w in SHAPES)
    query, value, position = torch.randn(2, 7, 16), torch.randn(2, tokens, 16), torch.randn(2, 7, 16)
    options = dict(value=value, query_pos=position, reference_points=torch.rand(2, 7, 3, coordinates))
    sizes = torch.tensor(SHAPES)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    wanted = theirs(query, **options, spatial_shapes=sizes, level_start_index=starts)
    found = TraceableDeformableAttention(theirs)(query, **options, spatial_shapes=SHAPES)
    torch.testing.assert_close(found, wanted)


def test_attention_that_is_not_batch_first_is_refused() -> None:
    from mmcv.ops import MultiScaleDeformableAttention

    from swinv2_dense.export.deformable import TraceableDeformableAttention

    with pytest.raises(UserError, match="batch_first=False"):
        TraceableDeformableAttention(MultiScaleDeformableAttention(16, 2))


@pytest.mark.parametrize(
    ("name", "scope"),
    [("ade20k/mask2former_swinv2_b", "mmseg"), ("mask2former_swinv2_t", "mmdet"), ("dino_swinv2_t", "mmdet")],
)
def test_models_of_any_size(name: str, scope: str) -> None:
    assert compared(small(name, scope), (64, 96), (101, 75), (33, 140)) < 1e-4


def test_what_is_not_known_is_refused() -> None:
    model = small("dino_swinv2_t")
    model.bbox_head.loss_cls.use_sigmoid = False
    with pytest.raises(UserError, match="DINO cannot be exported: its scores are a softmax"):
        exportable(model)
    model = small("mask2former_swinv2_t")
    decoder = model.panoptic_head.pixel_decoder
    decoder.__class__ = type("PixelDecoder", (type(decoder),), {})
    with pytest.raises(UserError, match="it has a PixelDecoder, known is MSDeformAttnPixelDecoder"):
        exportable(model)


class Swapped(TorchFunctionMode):
    """The last two of the best, as where rounding decides."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is not torch.Tensor.topk or found.indices.ndim != 2 or found.indices.shape[1] != 20:
            return found
        order = [*range(18), 19, 18]
        return torch.return_types.topk((found.values[:, order], found.indices[:, order]))


def test_queries_of_equal_scores_come_in_either_order() -> None:
    """And of unequal ones in one order only."""
    model = small("dino_swinv2_t")
    what, x = exportable(model), [(torch.randn(1, 3, 64, 96),)]
    file = traced(model)

    def swapped(images: Any) -> dict[str, Any]:
        with Swapped():
            return file(images)

    with pytest.raises(UserError, match="nothing was written"):
        check(ExportedModel(swapped, {}, "module"), what, x, "fp32", model)
    head = model.bbox_head.cls_branches[model.decoder.num_layers]
    nn.init.constant_(head.weight, 0.0)
    nn.init.constant_(head.bias, 0.3)
    file, what = traced(model), exportable(model)
    assert check(ExportedModel(swapped, {}, "module"), what, x, "fp32", model)[0].error < 1e-4
    assert what.given is not None
    outputs = {name: torch.from_numpy(out) for name, out in swapped(x[0][0].numpy()).items()}
    outputs["queries"][:, 0] = outputs["queries"][:, 1]  # one twice is no choice of the best
    with torch.no_grad():
        torch.testing.assert_close(what.given(x[0][0], outputs, 1e-4), what.reference(x[0][0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scope", "suffix"),
    [
        ("ade20k/mask2former_swinv2_b", "mmseg", ".onnx"),
        ("mask2former_swinv2_t", "mmdet", ".onnx"),
        ("dino_swinv2_t", "mmdet", ".onnx"),
    ],
)
def test_files(name: str, scope: str, suffix: str, tmp_path: Path) -> None:
    report = export(small(name, scope), tmp_path / f"model{suffix}", size=(64, 96))
    assert report.error < 1e-4
    outputs = load(report.path)(np.zeros((3, 3, 64, 96), np.float32))
    assert all(len(output) == 3 for output in outputs.values())
    if suffix == ".onnx":
        from tests.export.test_exporting import assert_standard

        assert_standard(report.path)

"""Which models can be exported, and as what function of a batch of images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.export.traceable import traceable
from swinv2_dense.models.swin_v2 import input_channels

__all__ = ["Exportable", "Function", "exportable"]


@dataclass
class Exportable:
    """``module``: B x C x *pixels -> a tuple of tensors, with ``outputs`` as their names, in operators that trace.
    ``reference``: what the model as it is predicts. ``sizes``: both take as well how much of every image is no padding,
    (height, width), B x 2. ``any_size``: whether height and width may be symbols.
    ``axes``: of the input, behind batch and channels. ``notes``: what readers have to know of the outputs.
    ``smallest``: of the images that it is checked with. ``as_predicted``: turns an output by name into what the model
    predicts, where that is not the output itself. ``given``: what the model predicts where it decides between equals,
    up to a tolerance, as the file's outputs do. ``half``: whether float16 will do; not where the model chooses between
    near scores, or holds places in the image. ``opset``: of an ONNX file; from 20 on it knows GELU, and below that what
    detectors and deformable attention are written in."""

    task: str
    module: nn.Module
    reference: Callable[..., tuple[Tensor, ...]]
    outputs: tuple[str, ...]
    any_size: bool
    sizes: bool = False
    axes: tuple[str, ...] = ("height", "width")
    notes: dict[str, Any] = field(default_factory=dict)
    smallest: tuple[int, int] = (70, 125)
    as_predicted: Callable[[str, Tensor], Tensor] = lambda name, output: output
    given: Callable[[Tensor, Mapping[str, Tensor], float], tuple[Tensor, ...]] | None = None
    half: bool = True
    opset: int = 20


# What heads make of their logits; none: scores are the logits.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: x.softmax(-1),
    "sigmoid": torch.sigmoid,
    "none": lambda x: x,
}


class Function(nn.Module):
    """A function of a model as a module, which exporters want."""

    def __init__(self, model: nn.Module, function: Callable[[Any, Tensor], tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.function(self.model, images)


def _of(
    model: nn.Module,
    task: str,
    function: Callable[[Any, Tensor], tuple[Tensor, ...]],
    outputs: tuple[str, ...],
    reference: Callable[[Tensor], tuple[Tensor, ...]] | None = None,
    **kw: Any,
) -> Exportable:
    reference = reference or (lambda x: function(model, x))
    return Exportable(task, Function(traceable(model), function).eval(), reference, outputs, **kw)


def exportable(model: nn.Module) -> Exportable:
    """How a model is exported.

    Raises:
        UserError: it is of no kind that can be; says why.
    """
    library = {base.__module__.partition(".")[0]: base for base in reversed(type(model).__mro__)}
    if hasattr(model, "set_pretrained_window_size"):
        return _backbone(cast(Any, model))
    if not hasattr(getattr(model, "backbone", None), "set_pretrained_window_size"):
        raise UserError(f"{type(model).__name__} has no SwinV2 of ours as its backbone: it cannot be exported")
    if "peft" in library:
        raise UserError(
            f"a {type(model).__name__} cannot be exported: merge what was trained, model.merge_and_unload()"
        )
    if "mmdet" in library:
        from swinv2_dense.export.detectors import detector

        return detector(model)
    kinds = {"mmpretrain": _classifier, "mmseg": _segmenter, "mmaction": _recogniser}
    for name, make in kinds.items():
        if name in library:
            return make(cast(Any, model))
    raise UserError(f"{type(model).__name__} is no model of mmdet, mmseg, mmaction or mmpretrain: export its backbone")


def _backbone(model: Any) -> Exportable:
    names = tuple(f"stage{i}" for i in model.out_indices)
    video = len(model.axes) == 3

    def features(model: Any, images: Tensor) -> tuple[Tensor, ...]:
        out = model(images)
        return (out,) if isinstance(out, Tensor) else tuple(out)

    axes = ("frames", "height", "width") if video else ("height", "width")
    return _of(model, "features", features, names, any_size=True, axes=axes)


def _image(model: nn.Module, *frames: int) -> Tensor:
    """Such as the model takes, for what cannot be known of its head without asking."""
    return next(model.parameters()).new_zeros(1, input_channels(model), *frames, 64, 64)


def _activation(model: nn.Module, logits: Any, predict: Callable[[Tensor], Tensor]) -> str:
    """Which of ``ACTIVATIONS`` a model's head ends with; found by asking for the scores of drawn logits.

    Args:
        logits: an output of the head, for its shape.
        predict: of the head, B x classes -> scores.

    Raises:
        UserError: none of them.
    """
    if isinstance(logits, Tensor) and logits.ndim == 2:
        drawn = torch.randn(3, logits.shape[1], generator=torch.Generator().manual_seed(0))
        scores = predict(drawn)
        for name, function in ACTIVATIONS.items():
            made = function(drawn)
            if made.shape == scores.shape and torch.allclose(made, scores, rtol=1e-5, atol=1e-6):
                return name
    raise UserError(
        f"{type(model).__name__} cannot be exported: its head gives neither logits, a row for each image, nor their "
        "softmax or sigmoid as scores; export its backbone"
    )


@torch.no_grad()
def _classifier(model: Any) -> Exportable:
    head: Any = getattr(model, "head", None)
    if not callable(getattr(head, "predict", None)):
        raise UserError(f"{type(model).__name__} has no head that predicts: export its backbone")

    def predict(logits: Tensor) -> Tensor:
        asked = copy.copy(head)  # shares the weights; only what it computes from features is replaced
        asked.forward = lambda *_: logits
        return torch.stack([sample.pred_score for sample in asked.predict(None)])

    logits = model(_image(model), mode="tensor")
    name = _activation(model, logits, predict)

    def scores(model: Any, images: Tensor) -> tuple[Tensor, ...]:
        return (ACTIVATIONS[name](model(images, mode="tensor")),)

    def reference(images: Tensor) -> tuple[Tensor, ...]:
        return (torch.stack([sample.pred_score for sample in model.predict(images)]),)

    return _of(model, "classification", scores, ("scores",), reference, any_size=True, notes={"activation": name})


@torch.no_grad()
def _segmenter(model: Any) -> Exportable:
    head = model.decode_head
    if "Mask2FormerHead" in {base.__name__ for base in type(head).__mro__}:
        return _mask2former(model)
    if isinstance(head, nn.ModuleList) or not hasattr(head, "align_corners") or not hasattr(head, "conv_seg"):
        raise UserError(
            f"segmenters with a {type(head).__name__} cannot be exported: UperNet, Mask2Former and other heads that "
            "give one map of logits can"
        )
    if not isinstance(head(model.extract_feat(_image(model))), Tensor):
        raise UserError(f"segmenters with a {type(head).__name__} cannot be exported: it gives more than one map")

    def logits(model: Any, images: Tensor) -> tuple[Tensor, ...]:
        out = model.decode_head(model.extract_feat(images))
        size = images.shape[-2:]
        return (F.interpolate(out, size=size, mode="bilinear", align_corners=model.decode_head.align_corners),)

    one = model.out_channels == 1
    return _of(
        model,
        "segmentation",
        logits,
        ("logits",),
        lambda images: _segmented(model, images),
        any_size=True,
        notes={"threshold": head.threshold} if one else {},
        as_predicted=lambda name, output: output.sigmoid() if one else output,
    )


def _segmented(model: Any, images: Tensor) -> tuple[Tensor, ...]:
    """What mmseg predicts, B x classes x H x W, of whole images; a config that slides does so for every window."""
    from mmseg.structures import SegDataSample

    size = tuple(images.shape[-2:])
    meta = dict(img_shape=size, ori_shape=size, pad_shape=size)
    samples = [SegDataSample(metainfo=meta) for _ in images]
    samples = model.postprocess_result(model.encode_decode(images, [meta] * len(images)), samples)
    return (torch.stack([sample.seg_logits.data for sample in samples]),)


def _mask2former(model: Any) -> Exportable:
    from swinv2_dense.export.deformable import traceable_deformable

    def scores(model: Any, images: Tensor) -> tuple[Tensor, ...]:
        classes, masks = model.decode_head(model.extract_feat(images), [])
        masks = F.interpolate(masks[-1], size=images.shape[-2:], mode="bilinear", align_corners=False).sigmoid()
        return (torch.einsum("bqc,bqhw->bchw", classes[-1].softmax(-1)[..., :-1], masks),)

    made = Function(traceable_deformable(model), scores).eval()
    return Exportable(
        "segmentation", made, lambda x: _segmented(model, x), ("logits",), any_size=True, half=False, opset=18
    )


@torch.no_grad()
def _recogniser(model: Any) -> Exportable:
    kind = type(model).__name__
    if getattr(model, "cls_head", None) is None:
        raise UserError(f"{kind} has no cls_head: export its backbone")
    if "Recognizer3D" not in {base.__name__ for base in type(model).__mro__} or len(model.backbone.axes) != 3:
        raise UserError(
            f"{kind} cannot be exported: of recognisers those of clips can, Recognizer3D; export its backbone"
        )
    from mmaction.structures import ActionDataSample

    def logits(model: Any, clips: Tensor) -> Any:
        features = model.backbone(clips)
        if model.with_neck:
            features, _ = model.neck(features)
        return model.cls_head(features)

    def predict(logits: Tensor) -> Tensor:
        samples = [ActionDataSample() for _ in logits]
        return _of_one_view(model.cls_head.predict_by_feat(logits, samples))

    name = _activation(model, logits(model, _image(model, 8)), predict)

    def scores(model: Any, clips: Tensor) -> tuple[Tensor, ...]:
        return (ACTIVATIONS[name](logits(model, clips)),)

    def reference(clips: Tensor) -> tuple[Tensor, ...]:
        found = [model.predict(clip[None, None], [ActionDataSample()]) for clip in clips]
        return (torch.cat([_of_one_view(samples) for samples in found]),)

    return _of(
        model,
        "video",
        scores,
        ("scores",),
        reference,
        any_size=True,
        axes=("frames", "height", "width"),
        notes={"activation": name},
    )


def _of_one_view(samples: list[Any]) -> Tensor:
    """B x classes; a head that does not average clips keeps an axis of clips."""
    return torch.stack([sample.pred_score.reshape(-1, sample.pred_score.shape[-1])[0] for sample in samples])

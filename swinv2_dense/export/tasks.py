"""Which models can be exported, and as what function of a batch of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.export.traceable import traceable

__all__ = ["Exportable", "exportable"]


@dataclass
class Exportable:
    """``module``: B x 3 x *pixels -> a tuple of tensors, with ``outputs`` as their names, in operators that trace.
    ``reference``: the same function of the model as it is. ``any_size``: whether height and width may be symbols.
    ``axes``: of the input, behind batch and channels."""

    task: str
    module: nn.Module
    reference: Callable[[Tensor], tuple[Tensor, ...]]
    outputs: tuple[str, ...]
    any_size: bool
    axes: tuple[str, ...] = ("height", "width")


class _Function(nn.Module):
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
    **kw: Any,
) -> Exportable:
    return Exportable(task, _Function(traceable(model), function).eval(), lambda x: function(model, x), outputs, **kw)


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


def _classifier(model: Any) -> Exportable:
    if getattr(model, "head", None) is None:
        raise UserError(f"{type(model).__name__} has no head: export its backbone")

    def scores(model: Any, images: Tensor) -> tuple[Tensor, ...]:
        return (model(images, mode="tensor").softmax(-1),)

    return _of(model, "classification", scores, ("scores",), any_size=True)


def _segmenter(model: Any) -> Exportable:
    head = model.decode_head
    if isinstance(head, nn.ModuleList) or not hasattr(head, "align_corners") or not hasattr(head, "conv_seg"):
        raise UserError(
            f"segmenters with a {type(head).__name__} cannot be exported (Mask2Former's deformable attention reads the "
            "sizes of its levels from tensors, which a graph cannot): UperNet and other heads that give logits can"
        )

    def logits(model: Any, images: Tensor) -> tuple[Tensor, ...]:
        out = model.decode_head(model.extract_feat(images))
        size = images.shape[-2:]
        return (F.interpolate(out, size=size, mode="bilinear", align_corners=model.decode_head.align_corners),)

    return _of(model, "segmentation", logits, ("logits",), any_size=True)


def _recogniser(model: Any) -> Exportable:
    if getattr(model, "cls_head", None) is None:
        raise UserError(f"{type(model).__name__} has no cls_head: export its backbone")

    def scores(model: Any, images: Tensor) -> tuple[Tensor, ...]:
        return (model.cls_head(model.backbone(images)).softmax(-1),)

    return _of(model, "video", scores, ("scores",), any_size=True, axes=("frames", "height", "width"))

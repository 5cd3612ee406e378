"""What a model answers for an image, class by class and place by place, as tensors that can be differentiated.

A place is the image or clip itself (classification), a pixel (segmentation) or a box (detection).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, masks_to_boxes, nms

from swinv2_dense.errors import UserError
from swinv2_dense.inference.model_loading import LoadedModel

__all__ = ["SCORE", "Answers", "Chosen", "answers", "choose"]

SCORE = 0.3  # probability from which on a box counts
_SAME_OBJECT = 0.5  # overlap (IoU) from which on two boxes of a class are one object's


@dataclass(frozen=True)
class Answers:
    """``logits``, ``probabilities``: N places x classes. ``boxes``: N x classes x 4, x1 y1 x2 y2 in pixels of the
    input, or None. ``size``: rows and columns of the places where they are pixels, else None."""

    logits: Tensor
    probabilities: Tensor
    boxes: Tensor | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Chosen:
    """A class and the places that speak for it. ``rows``: their indices. ``reason``: in words, how much they do."""

    label: int
    rows: Tensor
    reason: str


def answers(loaded: LoadedModel, inputs: Tensor, samples: Any, size: tuple[int, ...]) -> Answers:
    """Run a model on one prepared image or clip.

    Args:
        inputs, samples: a batch of one, as the model's data preprocessor makes it.
        size: pixels of the image without the preprocessor's padding.

    Raises:
        UserError: a detector or segmenter of another kind, or no box was proposed.
    """
    if loaded.task == "detection":
        return _of_boxes(loaded.model, inputs, samples)
    if loaded.task == "segmentation":
        return _of_pixels(loaded.model, inputs, samples, size)
    model: Any = loaded.model
    if loaded.task == "video":
        logits = model(inputs, mode="tensor", stage="head")
        return Answers(logits, logits.softmax(1))
    logits = model(inputs, samples, mode="tensor")
    several = type(model.head).__name__.startswith("MultiLabel")
    return Answers(logits, logits.sigmoid() if several else logits.softmax(1))


def choose(found: Answers, label: int | None = None) -> Chosen:
    """The places that speak for a class: the image; pixels where no other class is likelier; boxes of at least
    :data:`SCORE`, one an object. Where there are none, all pixels or the likeliest box.

    Args:
        label: default: the class of the largest probability, or of the most pixels.

    Raises:
        UserError: no such class.
    """
    probabilities = found.probabilities.detach()
    count = probabilities.shape[1]
    if label is not None and label not in range(count):
        raise UserError(f"there is no class {label}: this model has classes 0 to {count - 1}")
    if found.size is not None:
        return _choose_pixels(probabilities, label)
    label = int(probabilities.max(0).values.argmax()) if label is None else label
    if found.boxes is not None:
        return _choose_boxes(probabilities[:, label], found.boxes[:, label].detach(), label)
    rows = torch.arange(len(probabilities), device=probabilities.device)
    return Chosen(label, rows, f"probability {_rounded(probabilities[:, label].mean())}")


def _choose_pixels(probabilities: Tensor, label: int | None) -> Chosen:
    likeliest = probabilities.argmax(1)
    pixels = torch.bincount(likeliest, minlength=probabilities.shape[1])
    label = int(pixels.argmax()) if label is None else label
    rows = (likeliest == label).nonzero()[:, 0]
    if not len(rows):
        everywhere = torch.arange(len(likeliest), device=likeliest.device)
        return Chosen(label, everywhere, "predicted nowhere, all pixels count")
    return Chosen(label, rows, f"{len(rows) / len(likeliest):.0%} of the pixels")


def _choose_boxes(probabilities: Tensor, boxes: Tensor, label: int) -> Chosen:
    sure = (probabilities >= SCORE).nonzero()[:, 0]
    if not len(sure):
        best = probabilities.argmax()
        return Chosen(label, best[None], f"no box from {SCORE} on, the likeliest has {_rounded(probabilities[best])}")
    rows = sure[nms(boxes[sure].float(), probabilities[sure].float(), _SAME_OBJECT)]
    surest = _rounded(probabilities[rows].max())
    return Chosen(label, rows, f"{len(rows)} boxes, the surest {surest}" if len(rows) > 1 else f"a box of {surest}")


def _rounded(probability: Tensor) -> str:
    return f"{float(probability):.2f}" if probability >= 0.01 else f"{float(probability):.1g}"


def _of_pixels(model: Any, inputs: Tensor, samples: Any, size: tuple[int, ...]) -> Answers:
    logits = model(inputs, samples, mode="tensor")
    if not isinstance(logits, Tensor) or logits.ndim != 4:
        kind = type(model.decode_head).__name__
        raise UserError(f"explaining a {kind} is not supported: it gives no logits of pixels")
    # B x C x h x w, without what lies in the padding
    h, w = (-(-s * n // padded) for s, n, padded in zip(size, logits.shape[2:], inputs.shape[2:], strict=True))
    logits = logits[0, :, :h, :w].flatten(1).T
    if logits.shape[1] > 1:
        return Answers(logits, logits.softmax(1), size=(h, w))
    # foreground alone, which wins from the head's threshold on
    logits = torch.cat([-logits, logits], 1)
    wins = (logits[:, 1:].sigmoid() > model.decode_head.threshold).to(logits.dtype)
    return Answers(logits, torch.cat([1 - wins, wins], 1), size=(h, w))


def _of_boxes(model: Any, inputs: Tensor, samples: Any) -> Answers:
    if hasattr(model, "roi_head"):
        return _of_regions(model, inputs, samples)
    output = model(inputs, samples, mode="tensor")
    parts = output[:2] if isinstance(output, tuple) and len(output) >= 2 else ()
    # a transformer's: of every layer of its decoder the logits of the queries, B x Q x C, and their boxes or masks
    if not parts or not isinstance(parts[0][-1], Tensor) or parts[0][-1].ndim != 3:
        raise UserError(f"explaining a {type(model).__name__} is not supported: it has neither an RoI head nor queries")
    logits, places = (part[-1][0] for part in parts)
    if places.ndim == 3:  # masks, Q x h x w; the last class is none
        logits, probabilities = logits[:, :-1], logits.softmax(1)[:, :-1]
        boxes = _around(places.detach() > 0, (inputs.shape[-2], inputs.shape[-1]))
    else:  # boxes, Q x 4, in shares of the image
        probabilities = logits.sigmoid()
        height, width = samples[0].metainfo["img_shape"][:2]
        boxes = box_convert(places, "cxcywh", "xyxy") * places.new_tensor([width, height, width, height])
    return Answers(logits, probabilities, boxes[:, None].expand(-1, logits.shape[1], -1))


def _around(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """The boxes around N x h x w masks, in pixels of ``size``; of an empty one, zeros."""
    boxes = torch.zeros(len(masks), 4, device=masks.device)
    there = masks.flatten(1).any(1)
    boxes[there] = masks_to_boxes(masks[there]) + boxes.new_tensor([0, 0, 1, 1])
    scale = [n / m for n, m in zip(size[::-1], masks.shape[:0:-1], strict=True)]
    return boxes * boxes.new_tensor([*scale, *scale])


def _of_regions(model: Any, inputs: Tensor, samples: Any) -> Answers:
    """Logits as mmdet predicts with them, the mean of a cascade's heads; boxes of the last."""
    heads = _listed(model.roi_head.bbox_head)
    last = _listed(model.roi_head.bbox_roi_extractor)[-1]
    outputs: list[tuple[Tensor, Tensor]] = []
    regions: list[Tensor] = []
    handles = [h.register_forward_hook(lambda module, args, output: outputs.append(output)) for h in heads]
    handles.append(last.register_forward_pre_hook(lambda module, args: regions.append(args[1])))
    try:
        model(inputs, samples, mode="predict")
    finally:
        for handle in handles:
            handle.remove()
    if not outputs or not len(outputs[0][0]):
        raise UserError("no box was proposed for this image: there is nothing to explain")
    rois = regions[0]
    logits = torch.stack([output[0] for output in outputs]).mean(0)
    head, deltas = heads[-1], outputs[-1][1]
    classes = head.num_classes
    probabilities = head.loss_cls.get_activation(logits) if head.custom_cls_channels else logits.softmax(1)
    deltas = deltas.detach().reshape(len(rois), -1, 4).expand(-1, classes, -1)
    boxes = head.bbox_coder.decode(
        rois[:, 1:].detach().repeat_interleave(classes, 0),
        deltas.reshape(-1, 4),
        max_shape=samples[0].metainfo["img_shape"],
    )
    return Answers(logits[:, :classes], probabilities[:, :classes], boxes.reshape(len(rois), classes, 4))


def _listed(parts: Any) -> list[Any]:
    """The parts of a cascade, or a single one."""
    return list(parts) if isinstance(parts, nn.ModuleList) else [parts]

"""Detectors of mmdet as one function of a batch: two-stage ones (Faster, Mask and Cascade R-CNN, HTC), of which all
sizes have to be known, DINO and Mask2Former.

mmdet predicts image after image with lists of boxes. Here every image has as many places as the test config allows
boxes; those that hold none have a score of 0 and the label -1. What is computed for a box is mmdet's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.export.deformable import Dino, QueriesOf, traceable_deformable
from swinv2_dense.export.operators import nms_keep, soft_nms
from swinv2_dense.export.tasks import Exportable, Function
from swinv2_dense.export.traceable import traceable

__all__ = ["detector", "paste"]


def detector(model: Any) -> Exportable:
    """How a detector of mmdet is exported.

    Raises:
        UserError: it is not of the kinds above, or has a part that is not known here; names it.
    """
    name = type(model).__name__
    if name == "DINO":
        return _dino(model)
    if name == "Mask2Former":
        return _mask2former(model)
    _check(model)
    made = TwoStage(traceable(model)).eval()

    def reference(images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        return _reference(model, images, made.places, sizes)

    outputs = ("boxes", "scores", "labels", *(("masks",) if made.with_masks else ()))
    notes = {"mask_threshold": model.test_cfg.rcnn.mask_thr_binary} if made.with_masks else {}
    return Exportable(
        "detection", made, reference, outputs, any_size=False, sizes=True, notes=notes, half=False, opset=18
    )


def _dino(model: Any) -> Exportable:
    if not model.bbox_head.loss_cls.use_sigmoid:
        raise UserError("DINO cannot be exported: its scores are a softmax, known is the sigmoid")
    places = model.test_cfg.get("max_per_img", model.num_queries)

    def given(x: Tensor, outputs: Mapping[str, Tensor], tolerance: float) -> tuple[Tensor, ...]:
        with QueriesOf(outputs["queries"], tolerance):
            return _reference(model, x, places)

    # as many tokens as queries: mmdet fails with fewer
    side = math.ceil(4 * math.sqrt(model.num_queries))
    return Exportable(
        "detection",
        Dino(model).eval(),
        lambda x: _reference(model, x, places),
        ("boxes", "scores", "labels", "queries"),
        any_size=True,
        given=given,
        smallest=(side, side + 55),
        notes={"pads": False},
        half=False,
        opset=18,
    )


def _mask2former(model: Any) -> Exportable:
    """Queries as they are: instances or segments of them make a few lines of NumPy, or mmdet's fusion head."""
    if type(model.panoptic_head.pixel_decoder).__name__ != "MSDeformAttnPixelDecoder":
        kind = type(model.panoptic_head.pixel_decoder).__name__
        raise UserError(f"Mask2Former cannot be exported: it has a {kind}, known is MSDeformAttnPixelDecoder")

    def queries(model: Any, images: Tensor) -> tuple[Tensor, ...]:
        classes, masks = model.panoptic_head(model.extract_feat(images), [])
        return classes[-1], masks[-1]

    made = Function(traceable_deformable(model), queries).eval()
    outputs = ("class_logits", "mask_logits")
    return Exportable("detection", made, lambda x: queries(model, x), outputs, any_size=True, half=False, opset=18)


def _check(model: Any) -> None:
    name = type(model).__name__
    if not (hasattr(model, "rpn_head") and hasattr(model, "roi_head")):
        raise UserError(
            f"{name} cannot be exported: of detectors Faster, Mask and Cascade R-CNN, HTC, DINO and Mask2Former can; "
            "export its backbone"
        )
    roi = model.roi_head
    known = ("StandardRoIHead", "CascadeRoIHead", "HybridTaskCascadeRoIHead")
    if type(roi).__name__ not in known:
        raise UserError(
            f"{name} cannot be exported: roi_head of type {type(roi).__name__}, known are {', '.join(known)}"
        )
    extractors = [*_list(roi.bbox_roi_extractor), *_list(getattr(roi, "mask_roi_extractor", None))]
    for part, kind in [(e, "SingleRoIExtractor") for e in extractors] + [(model.rpn_head, "RPNHead")]:
        if part is not None and type(part).__name__ != kind:
            raise UserError(f"{name} cannot be exported: it has a {type(part).__name__}, known is {kind}")
    for head in _list(roi.bbox_head):
        if getattr(head, "custom_cls_channels", False) or not head.with_reg:
            raise UserError(f"{name} cannot be exported: its bbox_head does not give plain scores and boxes")
    if getattr(roi, "semantic_head", None) is not None:
        raise UserError(f"{name} cannot be exported with its semantic branch: take the htc_without_semantic_* config")
    for nms in (model.test_cfg.rpn.nms, model.test_cfg.rcnn.nms):
        if nms.get("type", "nms") not in ("nms", "soft_nms"):
            raise UserError(f"{name} cannot be exported: nms of type {nms['type']}, known are nms and soft_nms")
    if roi.with_mask and model.test_cfg.rcnn.mask_thr_binary < 0:
        raise UserError(f"{name} cannot be exported: test_cfg.rcnn.mask_thr_binary is negative; give a share, 0.5")


def _list(modules: Any) -> list[Any]:
    return list(modules) if isinstance(modules, (nn.ModuleList, list, tuple)) else [modules]


class TwoStage(nn.Module):
    """B x C x H x W, and how much of every image is no padding, B x 2 -> boxes B x K x 4 in pixels, scores and labels
    B x K, and B x K x M x M the mask of each box."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.places: int = model.test_cfg.rcnn.max_per_img
        self.with_masks = bool(model.roi_head.with_mask)

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        limits = sizes.flip(-1).repeat(1, 2)[:, None]  # of x, y, x, y; B x 1 x 4
        features = self.model.extract_feat(images)
        proposals, there = self._proposals(features, limits)
        boxes, scores, labels = self._detect(features, proposals, there, limits)
        if not self.with_masks:
            return boxes, scores, labels
        return boxes, scores, labels, self._masks(features, boxes, labels)

    def _proposals(self, features: Any, limits: Tensor) -> tuple[Tensor, Tensor]:
        """B x K x 4, and of which places hold a box, B x K."""
        head, cfg = self.model.rpn_head, self.model.test_cfg.rpn
        scores, deltas = head(features)
        grids = head.prior_generator.grid_priors([tuple(s.shape[-2:]) for s in scores], device=scores[0].device)
        found = []
        for score, delta, priors in zip(scores, deltas, grids, strict=True):
            batch = score.shape[0]
            score = score.permute(0, 2, 3, 1).reshape(batch, -1, head.cls_out_channels)
            score = score.sigmoid()[..., 0] if head.use_sigmoid_cls else score.softmax(-1)[..., 0]
            delta = delta.permute(0, 2, 3, 1).reshape(batch, -1, 4)
            priors = priors.expand(batch, -1, 4)
            if 0 < cfg.nms_pre < score.shape[1]:
                score, best = score.topk(cfg.nms_pre)
                delta, priors = _at(delta, best), _at(priors, best)
            box = _decoded(head, priors.reshape(-1, 4), delta.reshape(-1, 4), limits)
            if cfg.get("min_bbox_size", -1) >= 0:
                large = (box[..., 2:] - box[..., :2] > cfg.min_bbox_size).all(-1)
                score = torch.where(large, score, -1.0)
            keep = nms_keep(box, score, cfg.nms.get("iou_threshold", 0.7))
            found.append((torch.where(keep, score, -1.0), box))
        score, box = torch.cat([s for s, _ in found], 1), torch.cat([b for _, b in found], 1)
        score, best = score.topk(min(cfg.max_per_img, score.shape[1]))
        there = score >= 0
        return torch.where(there[..., None], _at(box, best), 0.0), there

    def _detect(self, features: Any, proposals: Tensor, there: Tensor, limits: Tensor) -> tuple[Tensor, ...]:
        roi, cfg = self.model.roi_head, self.model.test_cfg.rcnn
        heads, extractors = _list(roi.bbox_head), _list(roi.bbox_roi_extractor)
        batch, count = proposals.shape[:2]
        boxes, total = proposals.reshape(-1, 4), None
        for stage, (head, extractor) in enumerate(zip(heads, extractors, strict=True)):
            rois = _with_image(boxes.view(batch, count, 4))
            score, delta = head(_pooled(extractor, features, rois))
            total = score if total is None else total + score
            if stage < len(heads) - 1:
                if not head.reg_class_agnostic:
                    best = score[:, :-1].argmax(1)
                    delta = _at(delta.view(batch * count, -1, 4), best[:, None])[:, 0]
                boxes = _decoded(head, boxes, delta, limits).flatten(0, 1)
        assert total is not None
        scores = (total / len(heads)).softmax(-1)[:, :-1].view(batch, count, -1).transpose(1, 2)  # B x C x N
        head, classes = heads[-1], scores.shape[1]
        if head.reg_class_agnostic:
            by_class = _decoded(head, boxes, delta, limits)[:, None].expand(-1, classes, -1, -1)
        else:
            repeated = boxes[:, None].expand(-1, classes, -1).reshape(-1, 4)
            by_class = _decoded(head, repeated, delta.reshape(-1, 4), limits)
            by_class = by_class.view(batch, count, classes, 4).transpose(1, 2)
        by_class = by_class.contiguous()
        scores = torch.where((scores > cfg.score_thr) & there[:, None], scores, -1.0)
        best, place = self._best(by_class, scores, cfg.nms)
        found = best >= 0
        boxes = torch.where(found[..., None], _at(by_class.flatten(1, 2), place), 0.0)
        labels = torch.div(place, count, rounding_mode="floor")
        return boxes, torch.where(found, best, 0.0), torch.where(found, labels, -1)

    def _best(self, boxes: Tensor, scores: Tensor, nms: Any) -> tuple[Tensor, Tensor]:
        """Scores and places in C * N of the best boxes after suppression, B x K."""
        iou = nms.get("iou_threshold", nms.get("iou_thr", 0.5))
        places = min(self.places, scores.shape[1] * scores.shape[2])
        if nms.get("type", "nms") == "soft_nms":
            method = nms.get("method", "linear")
            return soft_nms(
                boxes, scores, iou, nms.get("sigma", 0.5), nms.get("min_score", 1e-3), method == "gaussian", places
            )
        keep = nms_keep(boxes.flatten(0, 1), scores.flatten(0, 1), iou).view(scores.shape)
        best, place = torch.where(keep, scores, -1.0).flatten(1).topk(places)
        return best, place

    def _masks(self, features: Any, boxes: Tensor, labels: Tensor) -> Tensor:
        roi = self.model.roi_head
        heads, extractors = _list(roi.mask_head), _list(roi.mask_roi_extractor)
        rois = _with_image(boxes)
        flows = getattr(roi, "mask_info_flow", None)  # HTC: a head sees the features of the one before
        masks: list[Tensor] = []
        last = None
        for head, extractor in zip(heads, extractors * (len(heads) // len(extractors)), strict=True):
            pooled = _pooled(extractors[-1] if flows is not None else extractor, features, rois)
            out = head(pooled, last) if flows else head(pooled)
            logits, last = out if isinstance(out, list) else (out, None)
            chosen = torch.zeros_like(labels) if head.class_agnostic else labels.clamp_min(0)
            masks.append(_at(logits.flatten(2), chosen.view(-1, 1))[:, 0].sigmoid())
        if flows is not None:
            masks = masks[-1:]  # mmdet takes HTC's last mask alone, and Cascade's mean
        return torch.stack(masks).mean(0).view(*labels.shape, *logits.shape[-2:])


def _decoded(head: Any, boxes: Tensor, deltas: Tensor, limits: Tensor) -> Tensor:
    """B N x 4 and as many deltas -> B x N x 4, within the images."""
    found: Tensor = head.bbox_coder.decode(boxes, deltas).view(limits.shape[0], -1, 4)
    return found.clamp_min(0).minimum(limits) if head.bbox_coder.clip_border else found


def _at(values: Tensor, places: Tensor) -> Tensor:
    """B x N x D at B x K -> B x K x D."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[-1]))


def _with_image(boxes: Tensor) -> Tensor:
    """B x K x 4 -> B K x 5, the number of the image first."""
    image = torch.arange(boxes.shape[0], device=boxes.device).to(boxes.dtype)
    return torch.cat([image[:, None, None].expand(-1, boxes.shape[1], 1), boxes], -1).reshape(-1, 5)


def _pooled(extractor: Any, features: Any, rois: Tensor) -> Tensor:
    """RoIAlign on the level that each box belongs to. Every level takes all boxes, those of others shrunk to a point,
    which costs one sample a bin: a file cannot hold lists of boxes whose lengths depend on the image."""
    features = features[: extractor.num_inputs]
    levels = extractor.map_roi_levels(rois, len(features))
    points = torch.cat([rois[:, :1], torch.zeros_like(rois[:, 1:])], 1)
    pooled: Tensor | None = None
    for level, (layer, feature) in enumerate(zip(extractor.roi_layers, features, strict=True)):
        mine = (levels == level)[:, None]
        out = torchvision.ops.roi_align(
            feature,
            torch.where(mine, rois, points),
            tuple(layer.output_size),
            layer.spatial_scale,
            layer.sampling_ratio,
            layer.aligned,
        )
        pooled = out if pooled is None else torch.where(mine[..., None, None], out, pooled)
    assert pooled is not None
    return pooled


def paste(masks: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Masks of boxes, K x M x M, into an image: K x ``height`` x ``width``, of which mmdet takes what is at least its
    ``mask_thr_binary``, 0.5."""
    x, y = (
        (torch.arange(n, device=masks.device) + 0.5 - boxes[:, i, None])
        / (boxes[:, 2 + i, None] - boxes[:, i, None])
        * 2
        - 1
        for i, n in ((0, width), (1, height))
    )
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], -1).nan_to_num(
        posinf=2.0, neginf=-2.0
    )
    return F.grid_sample(masks[:, None].to(grid.dtype), grid, align_corners=False)[:, 0]


def _reference(model: Any, images: Tensor, places: int, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """What mmdet itself predicts, in the file's form; masks pasted into the image."""
    from mmdet.structures import DetDataSample

    whole = tuple(images.shape[-2:])
    samples = []
    for size in [whole] * len(images) if sizes is None else [(int(h), int(w)) for h, w in sizes]:
        meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
        samples.append(DetDataSample(metainfo={**meta, "pad_shape": whole, "batch_input_shape": whole}))
    results = [sample.pred_instances for sample in model.predict(images, samples, rescale=False)]

    def padded(values: list[Tensor], fill: float, *shape: int) -> Tensor:
        made = values[0].new_full((len(values), places, *shape), fill)
        for row, value in zip(made, values, strict=True):
            row[tuple(slice(n) for n in value.shape)] = value
        return made

    found = [
        padded([getattr(r, name) for r in results], fill, *shape)
        for name, fill, shape in (("bboxes", 0, (4,)), ("scores", 0, ()), ("labels", -1, ()))
    ]
    if "masks" in results[0]:
        found.append(padded([r.masks for r in results], 0, *whole))
    return tuple(found)

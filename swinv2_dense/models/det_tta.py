"""Test-time augmentation with masks, which mmdet's ``DetTTAModel`` refuses.

Boxes first, masks second, as the masks of an object only average if every view predicts them for the same box:

    view 1..n:  pixels -> features, boxes -> boxes in the image's own pixels
    image:    the boxes of all views -> soft-NMS -> merged boxes
    view 1..n:  merged boxes -> this view's pixels -> mask heads -> probabilities, flipped back
    image:    mean probabilities -> pasted once

Needs mmdet, so a config names this module: ``custom_imports = dict(imports=['swinv2_dense.models.det_tta'])``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmcv.ops import batched_nms
from mmdet.models.roi_heads import CascadeRoIHead, HybridTaskCascadeRoIHead, StandardRoIHead
from mmdet.models.test_time_augs import DetTTAModel
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi, bbox_flip
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.registry import MODELS

__all__ = ["DetMaskTTAModel"]

_FLIPPED_AXES = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-2, -1)}


class _View(NamedTuple):
    """One augmentation of the whole batch, between the two passes."""

    features: list[Tensor]  # of the neck, in host memory
    semantic: list[Tensor]  # HTC's semantic feature, in host memory; empty without that branch
    metas: list[dict[str, Any]]


@MODELS.register_module()
class DetMaskTTAModel(DetTTAModel):
    """Scales and flips merged into one prediction of boxes and masks.

    For Mask R-CNN, Cascade Mask R-CNN and HTC, and for the same without a mask branch. A single view gives exactly the
    plain prediction, because suppression runs between views only: within its view a box has passed the model's own.

    The device holds one view's features at a time. Those of the other views wait in host memory (channels x 4/3 x 1/16
    of the view's pixels: 210 MB in fp32 for 1600 x 1600 and 256 channels), as running the backbone twice costs far more
    than two copies.

    Args:
        module: a two-stage detector, or its config.
        tta_cfg: ``nms`` (a config for ``mmcv.ops.batched_nms``, applied per class) and ``max_per_img``; what is missing
            is taken from the model's ``test_cfg.rcnn``.
        data_preprocessor: used where the model's config has none.

    Raises:
        UserError: ``tta_cfg`` has other keys, the detector is not of the kinds above, or the views do not record how
            they were scaled and flipped.
    """

    def __init__(
        self,
        module: dict[str, Any] | nn.Module,
        tta_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        unknown = sorted(set(tta_cfg or {}) - {"nms", "max_per_img"})
        if unknown:
            raise UserError(f"tta_model.tta_cfg.{unknown[0]} is unknown: tta_cfg takes nms and max_per_img")
        super().__init__(module=module, data_preprocessor=data_preprocessor)
        head = getattr(self.module, "roi_head", None)
        if head is None or not hasattr(self.module, "rpn_head"):
            raise UserError(
                f"tta_model: {type(self.module).__name__} has no RPN and RoI head, so boxes cannot be merged"
            )
        if head.with_mask and type(head).predict_mask not in _MASK_LOGITS:
            known = "Mask R-CNN, Cascade Mask R-CNN and HTC"
            raise UserError(f"tta_model: masks of {type(head).__name__} cannot be averaged, only those of {known}")
        # A model without test_cfg was built for training only.
        plain = {key: head.test_cfg[key] for key in ("nms", "max_per_img")} if head.test_cfg else {}
        self.tta_cfg = ConfigDict({**plain, **(tta_cfg or {})})

    def test_step(self, data: Mapping[str, Sequence[Any]]) -> list[DetDataSample]:
        """Predict a batch of images.

        Args:
            data: ``inputs`` and ``data_samples``, each a list of views, each a list of the batch's images.

        Returns:
            the first view's data samples, with ``pred_instances``: ``bboxes`` (N x 4, x1 y1 x2 y2 in pixels of the
            original image), ``scores``, ``labels`` and, with a mask branch, ``masks`` (bool, N x H x W).
        """
        views, boxes = [], []
        samples: list[DetDataSample] = []
        for index in range(len(data["inputs"])):
            batch = self.module.data_preprocessor({key: value[index] for key, value in data.items()}, False)
            view, found = self._detect(batch["inputs"], batch["data_samples"])
            views.append(view)
            boxes.append(found)
            samples = samples or batch["data_samples"]
        merged = [self._merge(list(of_image)) for of_image in zip(*boxes, strict=True)]
        masks = self._masks(views, merged) if self.module.roi_head.with_mask else [{}] * len(merged)
        for sample, found, mask in zip(samples, merged, masks, strict=True):
            sample.pred_instances = InstanceData(
                bboxes=found.bboxes.float(), scores=found.scores, labels=found.labels, **mask
            )
        return samples

    def _detect(self, inputs: Tensor, samples: list[DetDataSample]) -> tuple[_View, list[InstanceData]]:
        """First pass over one view: its boxes, in float64 and in pixels of the original images."""
        metas = [sample.metainfo for sample in samples]
        _check_metas(metas[0])
        head = self.module.roi_head
        features = self.module.extract_feat(inputs)
        semantic = [head.semantic_head(features)[1]] if getattr(head, "with_semantic", False) else []
        results = head.predict_bbox(
            features,
            batch_img_metas=metas,
            rpn_results_list=self.module.rpn_head.predict(features, samples, rescale=False),
            rcnn_test_cfg=head.test_cfg,
            rescale=False,
            **_semantic_argument(head, semantic),
        )
        for found, meta in zip(results, metas, strict=True):
            found.bboxes = _to_image(found.bboxes, meta)
        kept = features if head.with_mask else ()
        return _View([level.cpu() for level in kept], [level.cpu() for level in semantic], metas), results

    def _merge(self, views: list[InstanceData]) -> InstanceData:
        """The boxes that one image's views found, without those that several views found."""
        union = InstanceData.cat(views)
        if len(views) > 1 and len(union):
            boxes, keep = batched_nms(union.bboxes.float(), union.scores, union.labels, self.tta_cfg.nms)
            union = union[keep]
            union.scores = boxes[:, -1]
        return union[: self.tta_cfg.max_per_img]

    def _masks(self, views: list[_View], merged: list[InstanceData]) -> list[dict[str, Tensor]]:
        """Second pass: ``masks`` of the merged boxes of every image."""
        head, counts = self.module.roi_head, [len(found) for found in merged]
        probabilities = [found.bboxes.new_zeros(0, 1, 1, 1) for found in merged]
        if sum(counts):
            total = self._mask_probabilities(views[0], merged)
            for view in views[1:]:
                total += self._mask_probabilities(view, merged)
            probabilities = (total / len(views)).split(counts)
        last: Any = head.mask_head[-1] if isinstance(head.mask_head, nn.ModuleList) else head.mask_head
        pasted = last.predict_by_feat(
            mask_preds=probabilities,
            # Copies: pasting changes boxes in place.
            results_list=[InstanceData(bboxes=found.bboxes.float(), labels=found.labels) for found in merged],
            batch_img_metas=[{"ori_shape": meta["ori_shape"], "scale_factor": (1.0, 1.0)} for meta in views[0].metas],
            rcnn_test_cfg=head.test_cfg,
            rescale=True,
            activate_map=True,
        )
        return [{"masks": found.masks} for found in pasted]

    def _mask_probabilities(self, view: _View, merged: list[InstanceData]) -> Tensor:
        """Mask probabilities of one view for the merged boxes of all images, N x classes x h x w, flipped back."""
        head, device = self.module.roi_head, merged[0].bboxes.device
        rois = bbox2roi([_to_view(found.bboxes, meta) for found, meta in zip(merged, view.metas, strict=True)])
        logits = _MASK_LOGITS[type(head).predict_mask](
            head,
            [level.to(device) for level in view.features],
            rois,
            **_semantic_argument(head, [level.to(device) for level in view.semantic]),
        )
        stages = torch.stack([stage.sigmoid() for stage in logits]).mean(0)
        parts = stages.split([len(found) for found in merged])
        return torch.cat([_flip(part, meta) for part, meta in zip(parts, view.metas, strict=True)])


def _standard_logits(head: StandardRoIHead, features: list[Tensor], rois: Tensor) -> list[Tensor]:
    return [head._mask_forward(features, rois)["mask_preds"]]


def _cascade_logits(head: CascadeRoIHead, features: list[Tensor], rois: Tensor) -> list[Tensor]:
    return [head._mask_forward(stage, features, rois)["mask_preds"] for stage in range(head.num_stages)]


def _htc_logits(
    head: HybridTaskCascadeRoIHead, features: list[Tensor], rois: Tensor, semantic_feat: Tensor | None
) -> list[Tensor]:
    return head._mask_forward(-1, features, rois, semantic_feat=semantic_feat, training=False)["mask_preds"]


# By the method that would make the masks: a head that makes them in its own way (PointRend, Mask Scoring, SCNet) has no
# entry, one that only differs elsewhere has.
_MASK_LOGITS: dict[Callable[..., Any], Callable[..., list[Tensor]]] = {
    StandardRoIHead.predict_mask: _standard_logits,
    CascadeRoIHead.predict_mask: _cascade_logits,
    HybridTaskCascadeRoIHead.predict_mask: _htc_logits,
}


def _semantic_argument(head: nn.Module, semantic: list[Tensor]) -> dict[str, Tensor | None]:
    """HTC's heads take the semantic feature, None without that branch; the others know no such argument."""
    if not isinstance(head, HybridTaskCascadeRoIHead):
        return {}
    return {"semantic_feat": semantic[0] if semantic else None}


def _check_metas(meta: Mapping[str, Any]) -> None:
    missing = [key for key in ("ori_shape", "img_shape", "scale_factor", "flip") if key not in meta]
    if missing:
        raise UserError(
            f"tta_pipeline: a view lacks {missing[0]}: it needs Resize and RandomFlip (prob 0.0 if none) "
            "and PackDetInputs.meta_keys with ori_shape, img_shape, scale_factor, flip and flip_direction"
        )


def _scale(boxes: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """(x, y, x, y) factor from the image to the view; rounded to float32, because mmdet divides by that."""
    return torch.tensor(meta["scale_factor"], dtype=torch.float32, device=boxes.device).double().repeat(2)


def _to_image(boxes: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """Boxes of a view in the original image's pixels, N x 4.

    In float64, so that a box that goes to the image and back to its own view is the same float32 box again.
    """
    boxes = boxes.double()
    if meta["flip"]:
        boxes = bbox_flip(boxes, meta["img_shape"], meta["flip_direction"])
    return boxes / _scale(boxes, meta)


def _to_view(boxes: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """The inverse of :func:`_to_image`, in float32."""
    boxes = boxes * _scale(boxes, meta)
    if meta["flip"]:
        boxes = bbox_flip(boxes, meta["img_shape"], meta["flip_direction"])
    return boxes.float()


def _flip(maps: Tensor, meta: Mapping[str, Any]) -> Tensor:
    return maps.flip(_FLIPPED_AXES[meta["flip_direction"]]) if meta["flip"] else maps

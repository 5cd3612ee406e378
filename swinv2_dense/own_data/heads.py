"""The number of classes in every head of a config."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from swinv2_dense.errors import UserError

__all__ = ["set_classes"]


def set_classes(cfg: Config, count: int, *, masks: bool) -> None:
    """Set the number of classes of every head, auxiliary ones and queries' class weights too.

    Args:
        masks: the data have masks.

    Raises:
        UserError: the model learns from what the data do not have: masks, semantic maps.
    """
    roi_head = cfg.model.get("roi_head") or {}
    if roi_head.get("semantic_head"):
        raise UserError(
            "--data: this model's semantic branch trains on maps of stuff besides: take a config without it, such as "
            "coco/htc_without_semantic_swinv2_t"
        )
    needs_masks = bool(roi_head.get("mask_head")) or str(cfg.model.get("type")) in ("Mask2Former", "MaskFormer")
    if needs_masks and not masks:
        raise UserError(
            "--data: the data have boxes without masks, which this model trains on: take a config of boxes, such as "
            "coco/faster_rcnn_swinv2_t, or add a segmentation to every object"
        )
    _set(cfg.model, count)


def _set(node: Any, count: int) -> None:
    if isinstance(node, dict):
        before = node.get("num_classes", node.get("num_things_classes"))
        if "num_things_classes" in node:
            node["num_things_classes"] = count
            node["num_stuff_classes"] = 0
        if "num_classes" in node:
            node["num_classes"] = count
        weights = (node.get("loss_cls") or {}).get("class_weight")
        if isinstance(weights, (list, tuple)) and before is not None and len(weights) == before + 1:
            node["loss_cls"]["class_weight"] = [1.0] * count + [weights[-1]]  # the last is "no object"
        for value in node.values():
            _set(value, count)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _set(value, count)

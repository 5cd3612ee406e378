"""Test-time augmentation of a config: its own, or the image and its mirror image."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from swinv2_dense.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["augmentation"]

# A scope's class that merges views, and the step that ends its pipelines.
_MERGING = {
    "mmdet": ("swinv2_dense.DetMaskTTAModel", "PackDetInputs"),
    "mmseg": ("SegTTAModel", "PackSegInputs"),
    "mmpretrain": ("AverageClsScoreTTA", "PackInputs"),
}
_KEPT = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction")


def augmentation(cfg: Config, pipeline: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
    """``tta_model``, without its module, and ``tta_pipeline`` of a config; where it has none, those that merge an image
    with its mirror image. A model of ours is registered.

    Args:
        pipeline: that the config tests with.

    Raises:
        UserError: the config has one of the two alone, or its model's predictions cannot be merged.
    """
    merging, augmented = _chosen(cfg, pipeline)
    if merging["type"] == _MERGING["mmdet"][0]:
        importlib.import_module("swinv2_dense.models.det_tta")  # needs mmdet, so that no config has it without asking
    return merging, augmented


def _chosen(cfg: Config, pipeline: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
    named = [key for key in ("tta_model", "tta_pipeline") if cfg.get(key)]
    if len(named) == 1:
        other = "tta_pipeline" if named[0] == "tta_model" else "tta_model"
        raise UserError(
            f"--tta: the config has {named[0]} and no {other}: add it, or remove both to merge mirror images"
        )
    if named:
        return dict(cfg.tta_model), list(cfg.tta_pipeline)
    scope = str(cfg.get("default_scope"))
    if scope not in _MERGING or "SimMIM" in str(cfg.model.get("type")):
        what = "clips are predicted in several views already" if scope == "mmaction" else "there is nothing to merge"
        raise UserError(f"--tta: the config has no tta_model, and {what}: leave --tta out")
    if scope == "mmdet" and "roi_head" not in cfg.model:
        raise UserError(
            f"--tta: the config has no tta_model, and predictions of {cfg.model.get('type')} cannot be merged: leave "
            "--tta out"
        )
    merging, packing = _MERGING[scope]
    if not pipeline or _name(pipeline[-1]) != packing:
        raise UserError(f"--tta: the config has no tta_model, and its test pipeline does not end in {packing}: add one")
    return {"type": merging}, [pipeline[0], {"type": "TestTimeAug", "transforms": _mirrored(pipeline, scope)}]


def _mirrored(pipeline: Sequence[Any], scope: str) -> list[list[Any]]:
    """Each step alone, and before annotations are loaded the image as it is or mirrored."""
    steps, packing = list(pipeline[1:-1]), dict(pipeline[-1])
    if scope == "mmdet":
        packing["meta_keys"] = tuple(dict.fromkeys([*packing.get("meta_keys", ()), *_KEPT]))
    place = next((i for i, step in enumerate(steps) if _name(step).startswith("Load")), len(steps))
    flips = [{"type": "RandomFlip", "prob": 0.0}, {"type": "RandomFlip", "prob": 1.0}]
    return [*([step] for step in steps[:place]), flips, *([step] for step in steps[place:]), [packing]]


def _name(step: Any) -> str:
    return str(step.get("type")).rpartition(".")[2]

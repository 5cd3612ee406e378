"""Length, batch, learning rate and intervals of a training scaled to the number of samples.

The rules, which docs/own_data/README.md states too:

- Epochs: the config's; where it counts iterations, or has fewer, as many as make 1500 steps, but 12 to 300.
- Every drop of the rate keeps its share of the training. A warm-up is the config's, at most a tenth of the training.
- Learning rate: the config's, times the square root of the batch over the config's batch, as suits AdamW.
- Validation and checkpoints: 20 in a training, or one an epoch.
"""

from __future__ import annotations

import math
from typing import Any

from mmengine.config import Config

from swinv2_dense.errors import UserError

__all__ = ["default_epochs", "set_schedule"]

_STEPS, _FEWEST, _MOST, _VALIDATIONS, _WARMUP = 1500, 12, 300, 20, 0.1


def default_epochs(cfg: Config, samples: int, batch: int) -> int:
    """How many epochs to train for; ``batch``: of all processes together."""
    enough = math.ceil(_STEPS / max(1, math.ceil(samples / batch)))
    return max(int(cfg.train_cfg.get("max_epochs") or 0), min(_MOST, max(_FEWEST, enough)))


def set_schedule(cfg: Config, samples: int, batch: int, epochs: int, processes: int = 1) -> None:
    """Put batch, length, learning rate and intervals into a config.

    Args:
        samples: that are trained on.
        batch: of each process.

    Raises:
        UserError: a number that is none, or more in a batch than there are samples.
    """
    if epochs < 1:
        raise UserError(f"--epochs {epochs}: give 1 or more")
    if not 1 <= batch * processes <= samples:
        raise UserError(
            f"--batch {batch}: give 1 to {samples // processes}, as there are {samples} samples to train on"
        )
    steps = math.ceil(samples / (batch * processes))
    by_epoch = "max_epochs" in cfg.train_cfg
    before = cfg.train_cfg["max_epochs" if by_epoch else "max_iters"]
    every = max(1, math.ceil(epochs / _VALIDATIONS))
    _set_scheduler(cfg, ratio=(epochs if by_epoch else epochs * steps) / before, iterations=epochs * steps)
    cfg.train_cfg["max_epochs" if by_epoch else "max_iters"] = epochs if by_epoch else epochs * steps
    cfg.train_cfg.val_interval = every if by_epoch else every * steps
    cfg.train_cfg.pop("dynamic_intervals", None)
    hooks = cfg.default_hooks
    hooks.checkpoint.update(interval=cfg.train_cfg.val_interval, by_epoch=by_epoch, save_best=_best(cfg.val_evaluator))
    hooks.logger.interval = max(1, min(hooks.logger.get("interval", 50), steps // 4))
    cfg.train_dataloader.batch_size = batch
    base = (cfg.get("auto_scale_lr") or {}).get("base_batch_size")
    if base:
        factor = math.sqrt(batch * processes / base)
        cfg.optim_wrapper.optimizer.lr *= factor
        for step in cfg.param_scheduler:
            if step.get("eta_min"):
                step.eta_min *= factor
        cfg.auto_scale_lr = {"enable": False, "base_batch_size": batch * processes}


def _best(evaluator: Any) -> str:
    """The metric by which weights are the best; mmengine's own choice may be a single class's."""
    entries = evaluator if isinstance(evaluator, dict) else {}
    if entries.get("type") == "CocoMetric":
        return "coco/segm_mAP" if "segm" in entries.get("metric", "bbox") else "coco/bbox_mAP"
    best = {"IoUMetric": "mIoU", "AccMetric": "acc/top1", "Accuracy": "accuracy/top1"}
    return best.get(str(entries.get("type")), "auto")


def _set_scheduler(cfg: Config, ratio: float, iterations: int) -> None:
    """Stretch every part by ``ratio``; warm-ups are at most a tenth, and none where that is less than a step."""
    by_epoch = "max_epochs" in cfg.train_cfg
    epochs = round(cfg.train_cfg.max_epochs * ratio) if by_epoch else None
    ends: dict[float, float] = {}  # of warm-ups: in the config -> now
    kept = []
    for step in cfg.param_scheduler:
        begin, end = step.get("begin", 0), step.get("end")
        if step.type == "LinearLR" and begin == 0:
            length = epochs if step.get("by_epoch", True) else None
            step.end = ends[end] = _warmup(end, ratio, iterations, length, bool(step.get("convert_to_iter_based")))
            if step.end > 0:
                kept.append(step)
            continue
        step.begin = ends.get(begin, _stretched(begin, ratio))
        if end is not None:
            step.end = _stretched(end, ratio)
        if "T_max" in step:
            step.T_max = step.end - step.begin
        if "milestones" in step:
            step.milestones = [max(1, _stretched(at, ratio)) for at in step.milestones]
        kept.append(step)
    cfg.param_scheduler = kept


def _warmup(end: float, ratio: float, iterations: int, epochs: int | None, converted: bool) -> float:
    """The end of a warm-up that ended at ``end``, in iterations, or in ``epochs`` of the training; 0 for none."""
    if epochs is None:
        return min(int(end), int(_WARMUP * iterations))
    if not converted:
        return min(round(end * ratio), int(_WARMUP * epochs))
    # mmengine cuts the product with an epoch's iterations to a whole number
    return max(min(end * ratio, _WARMUP * epochs), 1.5 * epochs / iterations) if _WARMUP * iterations >= 1 else 0


def _stretched(value: float, ratio: float) -> int:
    return round(value * ratio)

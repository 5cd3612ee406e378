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
    """Stretch every part by ``ratio``; those that count iterations in an epoch-based training are warm-ups."""
    by_epoch = "max_epochs" in cfg.train_cfg
    warmup: dict[Any, Any] = {}
    longest = _WARMUP * (cfg.train_cfg.max_epochs * ratio if by_epoch else iterations)
    for step in cfg.param_scheduler:
        if by_epoch and not step.get("by_epoch", True):
            step.end = max(1, min(step.end, int(_WARMUP * iterations)))
        elif step.type == "LinearLR" and step.begin == 0:
            end = step.end if not by_epoch else step.end * ratio
            warmup[step.end] = step.end = min(end, longest) if step.get("convert_to_iter_based") else max(
                1, int(min(end, longest)))  # fmt: skip
        else:
            old_begin, old_end = step.get("begin", 0), step.get("end")
            step.begin = warmup.get(old_begin, _stretched(old_begin, ratio))
            if old_end is not None:
                step.end = _stretched(old_end, ratio)
            if "T_max" in step:
                step.T_max = step.end - step.begin
            if "milestones" in step:
                step.milestones = [max(1, _stretched(at, ratio)) for at in step.milestones]


def _stretched(value: float, ratio: float) -> int:
    return round(value * ratio)

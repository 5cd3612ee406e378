"""Schedules and checkpoints that count epochs in a training that counts iterations."""

from __future__ import annotations

from typing import Any

from swinv2_dense.errors import UserError

__all__ = ["check_counting"]


def check_counting(cfg: Any) -> None:
    """Refuse what counts epochs, as mmengine does unless told otherwise, where training has none: a schedule would
    never change a learning rate, and there would be no checkpoint before the end.

    Raises:
        UserError: names the key.
    """
    if "max_iters" not in cfg.train_cfg:
        return
    for key, schedule in _schedules(cfg.get("param_scheduler")):
        name = str(schedule.get("type"))
        # a plateau is looked for after validations; what is converted counts iterations
        if schedule.get("by_epoch", True) and "Plateau" not in name and not schedule.get("convert_to_iter_based"):
            raise UserError(
                f"{key} ({name}) counts epochs and train_cfg.max_iters iterations, so that it would change nothing: "
                f"set {key}.by_epoch=False, and its lengths in iterations"
            )
    hook = (cfg.get("default_hooks") or {}).get("checkpoint")
    if hook and hook.get("by_epoch", True) and hook.get("interval", -1) > 0:
        raise UserError(
            "default_hooks.checkpoint counts epochs and train_cfg.max_iters iterations, so that there would be no "
            "checkpoint before the end: set default_hooks.checkpoint.by_epoch=False, and its interval in iterations"
        )


def _schedules(given: Any) -> list[tuple[str, Any]]:
    if isinstance(given, dict):
        return [("param_scheduler", given)]
    return [(f"param_scheduler.{number}", schedule) for number, schedule in enumerate(given or ())]

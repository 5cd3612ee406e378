"""What counts epochs in a training that counts iterations is refused, since it would do nothing."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from swinv2_dense.checks.schedule import check_counting
from swinv2_dense.errors import UserError

BY_ITERATIONS = dict(type="IterBasedTrainLoop", max_iters=6)
BY_EPOCHS = dict(type="EpochBasedTrainLoop", max_epochs=6)
STEPS = dict(type="MultiStepLR", milestones=[4])


def config(loop: dict[str, Any], scheduler: Any, **checkpoint: Any) -> Config:
    hooks = dict(checkpoint=dict(type="CheckpointHook", **checkpoint)) if checkpoint else {}
    return Config(dict(train_cfg=loop, param_scheduler=scheduler, default_hooks=hooks))


@pytest.mark.parametrize(
    ("scheduler", "key"),
    [
        (STEPS, "param_scheduler"),
        ([dict(STEPS, by_epoch=False), dict(STEPS, by_epoch=True)], r"param_scheduler\.1"),
    ],
)
def test_schedule(scheduler: Any, key: str) -> None:
    with pytest.raises(UserError, match=rf"^{key} \(MultiStepLR\) counts epochs .*set {key}\.by_epoch=False"):
        check_counting(config(BY_ITERATIONS, scheduler))


@pytest.mark.parametrize(
    "scheduler",
    [
        None,
        [],
        dict(STEPS, by_epoch=False),
        dict(STEPS, convert_to_iter_based=True),
        dict(type="ReduceOnPlateauLR", monitor="loss"),
    ],
)
def test_schedules_that_do_something(scheduler: Any) -> None:
    check_counting(config(BY_ITERATIONS, scheduler, by_epoch=False, interval=2))
    check_counting(config(BY_EPOCHS, [STEPS], interval=1))


def test_checkpoints() -> None:
    with pytest.raises(UserError, match=r"default_hooks\.checkpoint counts epochs .*checkpoint\.by_epoch=False"):
        check_counting(config(BY_ITERATIONS, None, interval=2))
    check_counting(config(BY_ITERATIONS, None, interval=-1))
    check_counting(Config(dict(train_cfg=BY_ITERATIONS, default_hooks=dict(checkpoint=None))))

"""Drops and warm-ups keep their place in trainings of any length, by epoch and by iteration."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.schedule import default_epochs, set_schedule
from tests.tiny import REPOSITORY


def load(name: str) -> Config:
    return Config.fromfile(REPOSITORY / "configs" / f"{name}.py")


def test_by_epoch() -> None:
    cfg = load("coco/faster_rcnn_swinv2_t")
    set_schedule(cfg, samples=80, batch=4, epochs=72)
    warmup, steps = cfg.param_scheduler
    assert cfg.train_cfg.max_epochs == steps.end == 72
    assert steps.milestones == [54, 66]  # 27 and 33 of 36
    assert warmup.end == 144  # a tenth of 72 * 20 steps
    assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == 4
    assert cfg.default_hooks.checkpoint.save_best == "coco/bbox_mAP"
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1e-4 * math.sqrt(4 / 16))
    assert cfg.auto_scale_lr == {"enable": False, "base_batch_size": 4}


def test_by_iteration() -> None:
    cfg = load("ade20k/upernet_swinv2_t")
    set_schedule(cfg, samples=100, batch=2, epochs=4)
    warmup, decay = cfg.param_scheduler
    assert cfg.train_cfg.max_iters == decay.end == 200
    assert warmup.end == decay.begin == 20  # a tenth
    assert cfg.train_cfg.val_interval == 50
    assert cfg.default_hooks.checkpoint.save_best == "mIoU"


def test_drops_by_iteration() -> None:
    cfg = load("coco/mask2former_swinv2_t")
    set_schedule(cfg, samples=100, batch=1, epochs=10)
    assert cfg.param_scheduler[0].milestones == [889, 963]
    assert cfg.default_hooks.checkpoint.save_best == "coco/segm_mAP"


def test_a_warm_up_in_epochs_and_a_cosine() -> None:
    cfg = load("kinetics400/swinv2_t_256")
    set_schedule(cfg, samples=64, batch=8, epochs=40)
    warmup, cosine = cfg.param_scheduler
    assert warmup.end == 4.0  # 5 of 40 would be more than a tenth
    assert (cosine.begin, cosine.end, cosine.T_max) == (4.0, 40, 36.0)


@pytest.mark.parametrize("samples", [2, 7, 98])
@pytest.mark.parametrize("epochs", [1, 2, 3, 11])
@pytest.mark.parametrize(
    "name",
    ["coco/faster_rcnn_swinv2_t", "coco/mask2former_swinv2_t", "ade20k/upernet_swinv2_t", "kinetics400/swinv2_t_256"],
)
def test_the_shortest_trainings_have_a_rate_at_every_step(name: str, epochs: int, samples: int) -> None:
    cfg = load(name)
    set_schedule(cfg, samples=samples, batch=2, epochs=epochs)
    steps = math.ceil(samples / 2)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    parts = []
    for step in cfg.param_scheduler:
        options = {**step, "optimizer": optimizer}
        if options.pop("convert_to_iter_based", False):
            kind = PARAM_SCHEDULERS.get(options.pop("type"))
            parts.append(kind.build_iter_from_epoch(epoch_length=steps, **options))
        else:
            parts.append(PARAM_SCHEDULERS.build(options))
    for left in reversed(range(epochs * steps)):
        assert optimizer.param_groups[0]["lr"] > 0 or left == 0  # linear decay ends at 0
        for part in parts:
            part.step()


@pytest.mark.parametrize(("samples", "epochs"), [(50, 60), (10, 300), (100_000, 36)])
def test_epochs(samples: int, epochs: int) -> None:
    assert default_epochs(load("coco/faster_rcnn_swinv2_t"), samples, batch=2) == epochs


@pytest.mark.parametrize(
    ("batch", "epochs", "line"), [(11, 1, "--batch 11"), (0, 1, "--batch 0"), (1, 0, "--epochs 0")]
)
def test_senseless_numbers(batch: int, epochs: int, line: str) -> None:
    with pytest.raises(UserError, match=line):
        set_schedule(load("coco/faster_rcnn_swinv2_t"), samples=10, batch=batch, epochs=epochs)

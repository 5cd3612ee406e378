"""Resuming with other settings: what differs is shown, and the config's schedule is followed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook

from swinv2_dense.engine.runner.dense_runner import counting_steps
from swinv2_dense.engine.runner.resumed_settings import check_progress, differences, loading_state, table
from swinv2_dense.errors import UserError
from tests.engine.toy_run import BATCHES, config, run


def test_only_what_differs_is_shown() -> None:
    saved = {"optim_wrapper.optimizer.lr": 0.1, "train_cfg.max_iters": 6, "a": 1}
    now = {"optim_wrapper.optimizer.lr": 0.01, "train_cfg.max_iters": 6, "b": None, "c": "x"}
    found = differences(saved, now)
    assert found == [("optim_wrapper.optimizer.lr", 0.1, 0.01), ("c", None, "x"), ("a", 1, None)]
    assert table(found).splitlines()[1:3] == [
        "  setting                     checkpoint  config, used",
        "  optim_wrapper.optimizer.lr  0.1         0.01",
    ]


@pytest.mark.parametrize("saved", [None, [], "text", 3])
def test_checkpoints_without_settings_differ_in_nothing(saved: Any) -> None:
    assert differences(saved, {"a": 1}) == []


def test_another_optimizer_is_refused() -> None:
    with pytest.raises(UserError, match=r"trained by SGD and the config has optim_wrapper.optimizer.type=AdamW"):
        differences({"optim_wrapper.optimizer.type": "SGD"}, {"optim_wrapper.optimizer.type": "AdamW"})


def test_schedule_that_ends_before_what_is_done() -> None:
    check_progress(6, 6, "epochs")
    with pytest.raises(UserError, match=r"has 7 epochs done, more than train_cfg\.max_epochs=6"):
        check_progress(7, 6, "epochs")


@pytest.mark.parametrize("error", [KeyError("a"), ValueError("groups"), TypeError("x"), AttributeError("y")])
def test_state_that_does_not_fit_is_one_line(error: Exception) -> None:
    with pytest.raises(UserError, match=r"cannot resume from a\.pth: its optimizer"), loading_state("a.pth"):
        raise error


class Rates(Hook):
    """Writes down the rate that every iteration trains with."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        rate = runner.optim_wrapper.get_lr()["lr"][0]
        with self.path.open("a") as file:
            file.write(json.dumps([runner.iter + 1, rate]) + "\n")


def rates(path: Path) -> dict[int, float]:
    return dict(json.loads(line) for line in path.read_text().splitlines())


def schedule(cfg: Config, length: int, by_epoch: bool, **optimizer: Any) -> Config:
    if by_epoch:
        cfg.train_cfg.max_epochs = length
    else:
        cfg.train_cfg.max_iters = length
    warmup = dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=4)
    cfg.param_scheduler = [warmup, dict(type="CosineAnnealingLR", T_max=length, by_epoch=by_epoch, eta_min=0.001)]
    cfg.optim_wrapper.optimizer.update(optimizer)
    return cfg


@pytest.mark.parametrize(
    ("by_epoch", "short", "long", "optimizer"),
    [(False, 6, 12, {}), (True, 1, 2, {}), (False, 6, 6 + BATCHES, {"lr": 0.02, "weight_decay": 0.3})],
)
def test_extended_schedule_is_that_of_a_run_that_had_it_from_the_start(
    tmp_path: Path, by_epoch: bool, short: int, long: int, optimizer: dict[str, Any]
) -> None:
    whole, extended = tmp_path / "whole.txt", tmp_path / "extended.txt"
    cfg = schedule(config(tmp_path / "whole", by_epoch=by_epoch), long, by_epoch, **optimizer)
    assert run(cfg, Rates(whole))[0] == 0
    cfg = schedule(config(tmp_path / "work", by_epoch=by_epoch), short, by_epoch)
    assert run(cfg)[0] == 0
    cfg = schedule(config(tmp_path / "work", by_epoch=by_epoch, resume=True), long, by_epoch, **optimizer)
    status, output = run(cfg, Rates(extended))
    assert status == 0, output
    assert "resumed with other settings" in output and "T_max" in output
    found, wanted = rates(extended), rates(whole)
    assert min(found) == 7 and len(found) == 6
    assert found == pytest.approx({number: wanted[number] for number in found}, rel=1e-12)


def test_learning_rate_scaled_in_resuming_alone(tmp_path: Path) -> None:
    """The toy's batch of 2, and 4 passes to a step, are a quarter of what the rate is for."""
    assert run(config(tmp_path / "work"))[0] == 0
    cfg = config(tmp_path / "work", resume=True)
    cfg.update(load_from=str(tmp_path / "work" / "iter_12.pth"), work_dir=str(tmp_path / "plain"))
    cfg.train_cfg.max_iters = 13
    plain, scaled = tmp_path / "plain.txt", tmp_path / "scaled.txt"
    assert run(copy.deepcopy(cfg), Rates(plain))[0] == 0
    cfg.update(auto_scale_lr=dict(enable=True, base_batch_size=32), work_dir=str(tmp_path / "scaled"))
    cfg.optim_wrapper.accumulative_counts = 4
    status, output = run(cfg, Rates(scaled))
    assert status == 0, output
    assert "auto_scale_lr.base_batch_size" in output
    assert rates(scaled)[13] == pytest.approx(rates(plain)[13] / 4, rel=1e-12)


@pytest.mark.parametrize("given", [None, {}, {"enable": False}])
def test_nothing_to_scale(given: dict[str, Any] | None) -> None:
    assert counting_steps(given, {"optim_wrapper": {"accumulative_counts": 4}}) == given


def test_shortened_schedule_is_refused(tmp_path: Path) -> None:
    assert run(schedule(config(tmp_path / "work"), 8, False))[0] == 0
    status, output = run(schedule(config(tmp_path / "work", resume=True), 6, False))
    assert status == 1
    assert "has 8 iters done, more than train_cfg.max_iters=6" in output.splitlines()[-1]

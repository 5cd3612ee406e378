"""Resuming with other settings than those of the checkpoint: what differs is shown, and what the config says is used.

mmengine takes learning rates and schedules from the checkpoint, so that one which was extended stays at its final rate.
Here a schedule that was changed is followed as if it had been so from the start; the optimizer's averages are kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.runner import EpochBasedTrainLoop

from swinv2_dense.errors import UserError

__all__ = ["check_progress", "differences", "following_config", "loading_state", "settings_of", "table"]

Difference = tuple[str, Any, Any]

_SECTIONS = ("optim_wrapper", "param_scheduler", "train_cfg")
_OPTIMIZER = "optim_wrapper.optimizer.type"
_EPOCH = "iterations of an epoch"
_OF_VALIDATION = ("val_begin", "val_interval", "dynamic_intervals")  # which change nothing in training


def settings_of(runner: Any) -> dict[str, Any]:
    """What a run's learning rates and schedules follow from, by config key; text, numbers and None."""
    found: dict[str, Any] = {}
    for section in _SECTIONS:
        found.update(_flat(runner.cfg.get(section), section))
    loader = runner.cfg.get("train_dataloader") or {}
    found["train_dataloader.batch_size"] = _plain(loader.get("batch_size"))
    found["processes"] = get_world_size()
    scaling = runner.cfg.get("auto_scale_lr") or {}
    found["auto_scale_lr.base_batch_size"] = _plain(scaling.get("base_batch_size")) if scaling.get("enable") else None
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        found[_EPOCH] = len(runner.train_loop.dataloader)
    return found


def _flat(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key not in _OF_VALIDATION:
                yield from _flat(value, f"{path}.{key}")
    elif isinstance(node, (list, tuple)) and any(isinstance(part, Mapping) for part in node):
        for number, part in enumerate(node):
            yield from _flat(part, f"{path}.{number}")
    else:
        yield path, _plain(node)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def differences(saved: Any, now: Mapping[str, Any]) -> list[Difference]:
    """Settings that differ: key, the checkpoint's value and the config's, None where one has none.

    Raises:
        UserError: the optimizer is another, whose averages the checkpoint does not have.
    """
    if not isinstance(saved, Mapping):  # of an earlier version
        return []
    keys = [*now, *(key for key in saved if key not in now)]
    found = [(key, saved.get(key), now.get(key)) for key in keys if saved.get(key) != now.get(key)]
    for key, before, after in found:
        if key == _OPTIMIZER:
            raise UserError(
                f"--resume: the checkpoint was trained by {before} and the config has {key}={after}: correct one, or "
                "start from the weights alone by load_from"
            )
    return found


def table(found: list[Difference]) -> str:
    """The differences for people."""
    rows = [("setting", "checkpoint", "config, used"), *((key, str(a), str(b)) for key, a, b in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "resumed with other settings than the checkpoint's:\n  " + "\n  ".join(lines)


def check_progress(done: int, wanted: int, unit: str) -> None:
    """Refuse a schedule that ends before what is done.

    Raises:
        UserError: it does.
    """
    if done > wanted:
        raise UserError(
            f"--resume: the checkpoint has {done} {unit} done, more than train_cfg.max_{unit}={wanted}: raise it, or "
            "start from the weights alone by load_from"
        )


@contextmanager
def loading_state(path: str) -> Iterator[None]:
    """What fails in loading an optimizer's or a schedule's state is one line.

    Raises:
        UserError: it is none of this config's.
    """
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, AssertionError) as error:
        raise UserError(
            f"cannot resume from {path}: its optimizer, schedules or log are not those of this config ({error}): "
            "correct the config, or start from the weights alone by load_from"
        ) from error


@contextmanager
def following_config(runner: Any) -> Iterator[None]:
    """The block loads an optimizer, not the schedules; then rates are what the config's schedules give at that point.

    Raises:
        UserError: a schedule follows from scores, which are not known any more.
    """
    schedulers = _listed(runner.param_schedulers)
    for scheduler in schedulers:
        if "Plateau" in type(scheduler).__name__:
            raise UserError(
                f"--resume: {type(scheduler).__name__} follows from the scores so far: resume with the checkpoint's "
                "own settings, or start from its weights alone by load_from"
            )
    fresh = [{key: value for key, value in group.items() if key != "params"} for group in _groups(runner)]
    yield
    for group, settings in zip(_groups(runner), fresh, strict=True):
        group.update(settings)
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        length, into = len(loop.dataloader), loop.iter - loop.epoch * len(loop.dataloader)
        if not 0 <= into < length:  # epochs have another length now: this one begins again
            loop._iter, into = loop.epoch * length, 0
        _replay(schedulers, loop.epoch, length, into)
    else:
        _replay(schedulers, 0, 0, loop.iter)


def _replay(schedulers: list[Any], epochs: int, length: int, iterations: int) -> None:
    """Step schedules as mmengine's hook does, so many epochs of ``length`` iterations and some more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no optimizer steps are between
        for count, ends in [*((length, True) for _ in range(epochs)), (iterations, False)]:
            for _ in range(count):
                for scheduler in schedulers:
                    if not scheduler.by_epoch:
                        scheduler.step()
            for scheduler in schedulers:
                if ends and scheduler.by_epoch:
                    scheduler.step()


def _groups(runner: Any) -> list[dict[str, Any]]:
    return runner.optim_wrapper.param_groups


def _listed(schedulers: Any) -> list[Any]:
    if isinstance(schedulers, dict):
        return [scheduler for part in schedulers.values() for scheduler in part]
    return list(schedulers or ())

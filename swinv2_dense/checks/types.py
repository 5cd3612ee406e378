"""Entries of a config that have a wrong type or an impossible value, before anything is built from them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

__all__ = ["check_types"]

_Check = tuple[str, Callable[[Any], bool]]  # what is expected, and whether a value is that


def _whole(low: int, high: int = 1 << 53) -> _Check:
    expected = f"a whole number from {low} on" if high == 1 << 53 else f"a whole number from {low} to {high}"
    return expected, lambda value: type(value) is int and low <= value <= high


def _number(low: float) -> _Check:
    def fits(value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(value) and value >= low

    return f"a number from {low:g} on", fits


def _or_none(check: _Check) -> _Check:
    expected, fits = check
    return f"{expected}, or None", lambda value: value is None or fits(value)


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


_DICT: _Check = ("a dict", _is_dict)
_TYPED: _Check = ("a dict with a type", lambda value: _is_dict(value) and bool(value.get("type")))
_TEXT: _Check = ("a text", lambda value: isinstance(value, str) and bool(value) and "\0" not in value)
_BOOL: _Check = ("True or False", lambda value: isinstance(value, bool))
_DICTS: _Check = (
    "a dict or a list of dicts",
    lambda value: _is_dict(value) or (isinstance(value, (list, tuple)) and all(map(_is_dict, value))),
)
_STEPS: _Check = (
    "a list of dicts",
    lambda value: isinstance(value, (list, tuple)) and all(map(_is_dict, value)),
)
_LEVEL: _Check = (
    "one of DEBUG, INFO, WARNING, ERROR",
    lambda value: type(value) is int or type(logging.getLevelName(value) if isinstance(value, str) else "") is int,
)

_LOADER = {
    "": _or_none(_DICT),
    "batch_size": _whole(1),
    "num_workers": _whole(0, 4096),
    "prefetch_factor": _or_none(_whole(1)),
    "persistent_workers": _BOOL,
    "pin_memory": _BOOL,
    "dataset": _DICT,
    "dataset.pipeline": _STEPS,
    "sampler": _or_none(_TYPED),
    "batch_sampler": _or_none(_TYPED),
    "drop_last": _BOOL,
}
# By key; a key whose parents are missing is not looked at.
_EXPECTED: dict[str, _Check] = {
    "model": _TYPED,
    "model.backbone": _TYPED,
    "model.data_preprocessor": _or_none(_DICT),
    **{
        f"model.{name}": _or_none(_DICTS)
        for name in ("neck", "rpn_head", "roi_head", "bbox_head", "mask_head", "decode_head", "auxiliary_head")
    },
    **{
        f"{split}_dataloader{key and '.' + key}": check
        for split in ("train", "val", "test")
        for key, check in _LOADER.items()
    },
    **{f"{split}_cfg": _or_none(_DICT) for split in ("train", "val", "test")},
    "train_cfg.max_epochs": _whole(1),
    "train_cfg.max_iters": _whole(1),
    "train_cfg.val_interval": _whole(1),
    "train_cfg.val_begin": _whole(0),
    "optim_wrapper": _DICT,
    "optim_wrapper.optimizer": _TYPED,
    "optim_wrapper.optimizer.lr": _number(0),
    "optim_wrapper.optimizer.weight_decay": _number(0),
    "optim_wrapper.accumulative_counts": _whole(1),
    "optim_wrapper.clip_grad": _or_none(_DICT),
    "optim_wrapper.paramwise_cfg": _or_none(_DICT),
    "param_scheduler": _or_none(_DICTS),
    "val_evaluator": _or_none(_DICTS),
    "test_evaluator": _or_none(_DICTS),
    "default_hooks": _or_none(_DICT),
    **{
        f"default_hooks.{name}": _or_none(_DICT)
        for name in ("checkpoint", "logger", "visualization", "timer", "param_scheduler", "sampler_seed")
    },
    "default_hooks.checkpoint.interval": _whole(-1),
    "default_hooks.checkpoint.max_keep_ckpts": _whole(-1),
    "default_hooks.logger.interval": _whole(1),
    "custom_hooks": _or_none(("a list of dicts", lambda value: isinstance(value, list) and all(map(_is_dict, value)))),
    "custom_imports": _or_none(_DICT),
    "default_scope": _or_none(_TEXT),
    "env_cfg": _DICT,
    "env_cfg.dist_cfg": _DICT,
    "env_cfg.mp_cfg": _DICT,
    "randomness": _DICT,
    "randomness.seed": _or_none(_whole(0, 2**32 - 1)),
    "randomness.deterministic": _BOOL,
    "visualizer": _or_none(_DICT),
    "log_processor": _or_none(_DICT),
    "log_processor.window_size": _whole(1),
    "log_level": _LEVEL,
    "auto_scale_lr": _or_none(_DICT),
    "auto_scale_lr.base_batch_size": _whole(1),
    "load_from": _or_none(_TEXT),
    "resume": _BOOL,
    "work_dir": _TEXT,
    "find_unused_parameters": _BOOL,
}
# What has to be there, by what it is for.
_NEEDED = {
    "train": ("model", "train_dataloader", "train_cfg", "optim_wrapper"),
    "test": ("model", "test_dataloader", "test_cfg", "test_evaluator"),
    "browse": ("model", "train_dataloader"),
    "plan": ("model", "train_dataloader", "optim_wrapper"),
}
_DOING = {"train": "training", "test": "testing", "browse": "browsing", "plan": "planning"}
# What mmengine wants all of, or nothing.
_TOGETHER = (
    ("train_dataloader", "train_cfg", "optim_wrapper"),
    *((f"{split}_dataloader", f"{split}_cfg", f"{split}_evaluator") for split in ("val", "test")),
)


def check_types(cfg: Any, purpose: str) -> None:
    """Refuse a config that lacks what ``purpose`` needs, or has something else in its place.

    Args:
        purpose: 'train', 'test', 'browse' or 'plan'.

    Raises:
        UserError: names the key, its value, and what is expected.
    """
    for key in _NEEDED[purpose]:
        if cfg.get(key) is None:
            has = "has no" if key not in cfg else "has None as its"
            raise UserError(f"the config {has} {key}, which {_DOING[purpose]} needs: set it, or inherit it by _base_")
    for keys in _TOGETHER if purpose in ("train", "test") else ():
        given, lacking = ([key for key in keys if (cfg.get(key) is None) == none] for none in (False, True))
        if given and lacking:
            raise UserError(f"the config has {given[0]} and no {lacking[0]}: set {', '.join(keys)}, or none of them")
    top = {key: cfg[key] for key in cfg}
    for key, (expected, fits) in _EXPECTED.items():
        for value in _values(top, key.split(".")):
            if not fits(value):
                raise UserError(f"{key}={shown(repr(value), 80)}: it must be {expected}")
    if purpose == "train" and not {"max_epochs", "max_iters"} & set(cfg.train_cfg):
        raise UserError("train_cfg has neither max_epochs nor max_iters: set one, which says how long to train")
    splits = {"train": ("train", "val", "test"), "test": ("test",)}.get(purpose, ("train",))
    for split in splits:
        loader = cfg.get(f"{split}_dataloader")
        if loader is not None and "dataset" not in loader:
            raise UserError(f"{split}_dataloader has no dataset: set it, or inherit it by _base_")


def _values(node: Any, keys: list[str]) -> Iterator[Any]:
    """The value of a path of keys, if it is there."""
    for key in keys:
        if not _is_dict(node) or key not in node:
            return
        node = node[key]
    yield node

"""Image sizes of a whole config made larger or smaller together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config

from swinv2_dense.errors import UserError

__all__ = ["config_size", "scale_sizes", "sensible_size"]

_KEYS = ("scale", "scales", "crop_size", "size", "stride")  # of steps of pipelines and of model entries, in pixels
_MULTIPLE, _ENLARGED = 32, 2


def config_size(cfg: Config) -> int | None:
    """The short side, in pixels, at which a config tests; None where it takes images as they are."""
    size = None
    for step in cfg.val_dataloader.dataset.pipeline:
        value = step.get("crop_size", step.get("scale"))
        if value is not None:
            sides = [value] if isinstance(value, (int, float)) else [side for side in value if side > 0]
            size = int(min(sides))
    return size


def sensible_size(size: int, short_sides: Sequence[int]) -> int:
    """The config's size, but no more than twice the median short side of the data: enlarging further adds no detail."""
    most = _ENLARGED * float(np.median(short_sides))
    return size if most >= size else max(_MULTIPLE, round(most / _MULTIPLE) * _MULTIPLE)


def scale_sizes(cfg: Config, size: int) -> None:
    """Test at a short side of ``size``, and train at sizes that have the same ratio to it as before.

    What is a multiple of 32 stays one.

    Raises:
        UserError: the config takes images as they are.
    """
    before = config_size(cfg)
    if before is None:
        raise UserError("--image-size: this config takes images at their own size; there is nothing to change")
    if size < _MULTIPLE:
        raise UserError(f"--image-size {size}: give {_MULTIPLE} pixels or more")
    factor = size / before
    for split in ("train", "val", "test"):
        if loader := cfg.get(f"{split}_dataloader"):
            loader.dataset.pipeline = _scaled_steps(loader.dataset.pipeline, factor)
    if cfg.get("tta_pipeline"):
        cfg.tta_pipeline = _scaled_steps(cfg.tta_pipeline, factor)
    preprocessor = cfg.model.get("data_preprocessor") or {}
    for entries in (preprocessor, cfg.model.get("test_cfg") or {}, *(preprocessor.get("batch_augments") or ())):
        for key in _KEYS:
            if entries.get(key) is not None:
                entries[key] = _scaled(entries[key], factor)


def _scaled_steps(node: Any, factor: float) -> Any:
    if isinstance(node, dict):
        return {
            key: _scaled(value, factor) if key in _KEYS and value is not None else _scaled_steps(value, factor)
            for key, value in node.items()
        }
    if isinstance(node, (list, tuple)):
        return type(node)(_scaled_steps(value, factor) for value in node)
    return node


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_scaled(part, factor) for part in value)
    if value <= 0:  # an open side
        return value
    if value % _MULTIPLE == 0:
        return max(_MULTIPLE, round(value * factor / _MULTIPLE) * _MULTIPLE)
    return max(1, round(value * factor))

"""Batches of OpenMMLab as plain data: containers, numbers, strings and tensors, which torch loads with
``weights_only=True``; and back."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from swinv2_dense.errors import UserError

__all__ = ["from_plain", "to_plain"]

_CLASS = "class"
_LIBRARIES = ("mmengine", "mmdet", "mmseg", "mmaction", "mmpretrain")


def to_plain(value: Any) -> Any:
    """Take a batch apart. Tensors are copied to the CPU; what is none of the libraries' becomes its text."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {_CLASS: "numpy.ndarray", "data": torch.from_numpy(value.copy())}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, BaseDataElement):
        return _tagged(value, metainfo=dict(value.metainfo_items()), data=dict(value.items()))
    if type(value).__module__.startswith("mmdet.structures"):
        if hasattr(value, "masks"):
            return _tagged(value, masks=value.masks, height=value.height, width=value.width)
        return _tagged(value, tensor=value.tensor)
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(to_plain, value)) if type(value) in (list, tuple) else list(map(to_plain, value))
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _tagged(value: Any, **fields: Any) -> dict[str, Any]:
    cls = type(value)
    return {_CLASS: f"{cls.__module__}.{cls.__qualname__}", **{name: to_plain(item) for name, item in fields.items()}}


def from_plain(value: Any) -> Any:
    """The inverse of :func:`to_plain`, but for what had become text.

    Raises:
        UserError: it names a class that is no structure of OpenMMLab's libraries.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(map(from_plain, value))
    if not isinstance(value, dict):
        return value
    fields = {name: from_plain(item) for name, item in value.items() if name != _CLASS}
    if _CLASS not in value:
        return fields
    if value[_CLASS] == "numpy.ndarray":
        return fields["data"].numpy()
    cls = _structure(value[_CLASS])
    if "masks" in fields:
        return cls(fields["masks"], fields["height"], fields["width"])
    if "tensor" in fields:
        return cls(fields["tensor"])
    element = cls(metainfo=fields["metainfo"])
    element.set_data(fields["data"])
    return element


def _structure(path: str) -> Any:
    module, _, name = path.rpartition(".")
    if module.split(".")[0] not in _LIBRARIES or "structures" not in module.split("."):
        raise UserError(f"the dump names the class {path}, which is no data structure of OpenMMLab's: not loaded")
    return getattr(importlib.import_module(module), name)

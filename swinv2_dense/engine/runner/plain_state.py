"""A training state as plain data: what ``torch.load`` reads with ``weights_only=True`` and nothing else allowed.

mmengine saves whatever hooks, schedules and data sets hold: its own log buffers, NumPy arrays, paths, dates, functions.
Loading such a file needs code to be trusted, or fails. Here it becomes numbers, text, containers and tensors.
"""

from __future__ import annotations

import datetime
import os
from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

__all__ = ["pack_history", "to_plain_data", "unpack_history"]

_HISTORY = "log_history"
_LONGEST_HISTORY = 1_000_000  # what mmengine's buffers hold
_DEEPEST = 100
_LEFT_OUT = object()


def to_plain_data(value: Any) -> tuple[Any, list[str]]:
    """A copy of ``value`` as plain data, its tensors themselves; and where what is no data was left out.

    Paths, dates and enumerations become their text or value, NumPy numbers become Python's, arrays tensors, or lists
    where torch has no such dtype. Functions and other objects are left out, of lists and tuples as None.
    """
    left_out: list[str] = []
    return _plain(value, "", left_out, 0), left_out


def _plain(value: Any, place: str, left_out: list[str], depth: int) -> Any:
    if isinstance(value, torch.Tensor):
        return value if type(value) in (torch.Tensor, torch.nn.Parameter) else value.as_subclass(torch.Tensor)
    if value is None or type(value) in (bool, int, float, complex, str, bytes, torch.dtype, torch.Size):
        return value
    if isinstance(value, (Mapping, list, tuple, set, frozenset)) and depth < _DEEPEST:
        return _plain_container(value, place, left_out, depth)
    if isinstance(value, Enum):
        return _plain(value.value, place, left_out, depth)
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain_array(value, place, left_out, depth)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float, str, bytes)):  # subclasses, such as NumPy's or a library's own
        base: Any = next(base for base in (int, float, str, bytes) if isinstance(value, base))
        return base(value)
    if isinstance(value, torch.device):
        return str(value)
    left_out.append(place or "the whole")
    return _LEFT_OUT


def _plain_container(value: Any, place: str, left_out: list[str], depth: int) -> Any:
    if isinstance(value, Mapping):
        plain: dict[Any, Any] = OrderedDict() if isinstance(value, OrderedDict) else {}
        for key, item in value.items():
            kept = _plain(item, f"{place}.{key}" if place else str(key), left_out, depth + 1)
            if kept is not _LEFT_OUT:
                plain[key if type(key) in (bool, int, float, str) else str(key)] = kept
        if hasattr(value, "_metadata"):  # a module's versions, which its state dict carries
            plain._metadata = value._metadata  # type: ignore[attr-defined]
        return plain
    items = [_plain(item, f"{place}.{number}", left_out, depth + 1) for number, item in enumerate(value)]
    items = [None if item is _LEFT_OUT else item for item in items]
    return tuple(items) if isinstance(value, tuple) else items


def _plain_array(value: Any, place: str, left_out: list[str], depth: int) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    return _plain(value.tolist() if not isinstance(value, np.void) else None, place, left_out, depth + 1)


def pack_history(state: dict[str, Any]) -> dict[str, Any]:
    """A training state whose message hub has no log buffers; what they hold is beside it, as tensors."""
    hub = state["message_hub"]
    buffers = {name: buffer for name, buffer in hub["log_scalars"].items() if isinstance(buffer, HistoryBuffer)}
    resumed = {name: value for name, value in hub["resumed_keys"].items() if name in hub["runtime_info"]}
    history = {}
    for name, buffer in buffers.items():
        values, counts = buffer.data
        history[name] = {
            "values": torch.from_numpy(np.array(values, float)),
            "counts": torch.from_numpy(np.array(counts)),
        }
    return {**state, "message_hub": {**hub, "log_scalars": {}, "resumed_keys": resumed}, _HISTORY: history}


def unpack_history(state: dict[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`pack_history`. What is no history is left out.

    Raises:
        TypeError, LookupError: the message hub is none.
    """
    hub, history = state["message_hub"], state.get(_HISTORY) or {}
    scalars, resumed = dict(hub.get("log_scalars") or {}), dict(hub.get("resumed_keys") or {})
    for name, saved in history.items():
        values, counts = saved["values"], saved["counts"]
        if values.shape == counts.shape and values.ndim == 1 and len(values) <= _LONGEST_HISTORY:
            scalars[name], resumed[name] = HistoryBuffer(values.tolist(), counts.tolist()), True
    hub = {"log_scalars": scalars, "runtime_info": dict(hub["runtime_info"]), "resumed_keys": resumed}
    return {**state, "message_hub": hub}

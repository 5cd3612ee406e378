"""Where the configs are: at the repository's top level in a checkout, in the package in a wheel."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CONFIGS", "STRATEGIES"]

_PACKAGE = Path(__file__).resolve().parents[1]

_IN_WHEEL, _IN_CHECKOUT = _PACKAGE / "configs", _PACKAGE.parent / "configs"

CONFIGS = _IN_WHEEL if _IN_WHEEL.is_dir() else _IN_CHECKOUT
STRATEGIES = CONFIGS / "_base_" / "strategies"

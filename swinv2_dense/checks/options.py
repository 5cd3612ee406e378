"""Which options a class takes."""

from __future__ import annotations

import inspect

__all__ = ["options_of"]


def options_of(cls: type) -> list[str]:
    """What a constructor takes, with what it hands on to the class that it extends."""
    names: list[str] = []
    for each in cls.__mro__:
        parameters = inspect.signature(each).parameters.values()
        names += [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return names

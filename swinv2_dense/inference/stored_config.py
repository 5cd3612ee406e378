"""The config that a checkpoint holds, read as data.

mmengine saves a run's config in its checkpoints as the text of a Python file, and reads it by running it. Here the text
is only parsed, and what it may then build is limited to types that the libraries have registered: a checkpoint of
unknown origin runs no code.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from swinv2_dense.errors import UserError

__all__ = ["check_types", "config_of", "import_named"]

_CONTAINERS = {"dict": dict, "list": list, "tuple": tuple, "set": set}
# Whose modules a stored config may have imported, and whose types it may build.
_LIBRARIES = ("mmaction", "mmcv", "mmdet", "mmengine", "mmpretrain", "mmseg", "swinv2_dense")
_HELP = "give the run's config, --config PATH, which is run as Python code"


def config_of(text: str, source: str) -> dict[str, Any]:
    """The entries of a config file's text that consists of values alone, as mmengine writes it.

    Args:
        source: for messages.

    Raises:
        UserError: the text is no Python, or holds anything but values.
    """
    try:
        statements = ast.parse(text).body
        return dict(_entry(statement) for statement in statements)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"the config in {source} is no list of values ({error}): {_HELP}") from error


def _entry(statement: ast.stmt) -> tuple[str, Any]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            return target.id, _value(statement.value)
    raise ValueError(f"line {statement.lineno} is no assignment")


def _value(node: ast.expr) -> Any:
    """A literal, or ``dict(...)`` and the like of literals."""
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        return kind(_value(item) for item in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CONTAINERS:
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError(f"line {node.lineno} unpacks something")
        positional = [_value(argument) for argument in node.args]
        named = {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg}
        return _CONTAINERS[node.func.id](*positional, **named)
    if isinstance(node, ast.Name) and node.id in ("inf", "nan"):  # how Python prints them
        return float(node.id)
    return ast.literal_eval(node)


def import_named(cfg: Mapping[str, Any]) -> None:
    """Import what a stored config's ``custom_imports`` names, if it belongs to one of the libraries.

    Raises:
        UserError: it does not, or does not import.
    """
    wanted = (cfg.get("custom_imports") or {}).get("imports") or []
    for name in [wanted] if isinstance(wanted, str) else wanted:
        if str(name).partition(".")[0] not in _LIBRARIES:
            raise UserError(f"the config in the checkpoint imports {name}, which is code of its own: {_HELP}")
        importlib.import_module(str(name))


def check_types(node: Any, scope: str, source: str) -> None:
    """Refuse a stored config that would build what no library has registered.

    mmengine takes any dotted path for a type and calls what it leads to, ``os.system`` as well as a model.

    Args:
        scope: the config's ``default_scope``, in which plain names are looked up.
        source: for messages.

    Raises:
        UserError: naming the type.
    """
    known: set[str] = set()
    for name in _types(node):
        known = known or _registered(scope)
        if name not in known:
            raise UserError(f"the config in {source} names {name!r}, which no library has registered: {_HELP}")


def _types(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        if "type" in node:
            yield node["type"]
        for value in node.values():
            yield from _types(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _types(value)


def _registered(scope: str) -> set[str]:
    """Names of all models, transforms and their parts that the libraries have registered, and mmcv's operators.

    With the name of their library; plain ones of ``scope``. Only registries that building a model imports anyway.
    """
    from mmengine import registry as root

    # Initialisers are mmengine's, and only named: a checkpoint's weights come from itself.
    parents = (root.MODELS, root.TRANSFORMS, root.TASK_UTILS, root.WEIGHT_INITIALIZERS)
    for library in (scope, "swinv2_dense"):
        importlib.import_module(f"{library}.registry")
        for parent in parents:
            if library in parent.children:
                parent.children[library].import_from_location()
    names = _operators() if scope == "mmdet" else set()
    # mmpretrain's mixed images, of a registry without parent
    augments = getattr(importlib.import_module(f"{scope}.registry"), "BATCH_AUGMENTS", None)
    names |= set(augments.module_dict) if augments is not None else set()
    for parent in parents:
        names |= set(parent.module_dict) | {f"mmengine.{name}" for name in parent.module_dict}
        for child in [child for child in parent.children.values() if child.scope in _LIBRARIES]:
            names |= {f"{child.scope}.{name}" for name in child.module_dict}
            names |= set(child.module_dict) if child.scope == scope else set()
    return names


def _operators() -> set[str]:
    """mmdet takes its RoI layers and kinds of NMS by their names in mmcv.ops."""
    from mmcv import ops

    return {name for name in vars(ops) if not name.startswith("_")}

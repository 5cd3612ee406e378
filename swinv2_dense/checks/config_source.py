"""Config files, looked at before they are read.

A config in Python is a program, and is run. One in YAML or JSON is data, and stays so: mmengine's reader would build
any Python object that a YAML file names. The value of an environment variable, which mmengine pastes into a config's
text, stays a value.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["check_sources", "read_config"]

_BASE = "_base_"
_LARGEST = 16 << 20  # bytes
_WEIGHTS = (".bin", ".pt", ".pth", ".safetensors")
_MOST_ENTRIES = 1_000_000  # of a YAML file, counted as often as an alias repeats them
_PLACEHOLDER = re.compile(r"\{\{['\"]?\s*\$(\w+)\s*:")  # as mmengine finds them


def read_config(path: str | os.PathLike[str]) -> Config:
    """mmengine's ``Config.fromfile``, after :func:`check_sources`. What a config in Python raises is let through."""
    from mmengine.config import Config

    check_sources(path)
    return Config.fromfile(path)


def check_sources(path: str | os.PathLike[str], above: tuple[Path, ...] = ()) -> None:
    """Look at a config and at those that its ``_base_`` names, which begin with ``above``.

    Raises:
        UserError: no regular UTF-8 file, a loop of ``_base_``, YAML that is no plain data or endless, or an environment
            variable whose value would become a part of the config's program.
    """
    file = Path(os.path.abspath(os.path.expanduser(path)))
    if file in above:
        chain = " -> ".join(shown(part.name) for part in (*above[above.index(file) :], file))
        raise UserError(f"config {shown(file)}: its {_BASE} leads back to itself ({chain}): take one out")
    if file.suffix in _WEIGHTS and file.is_file():
        raise UserError(f"{shown(file)} is a checkpoint, and a config is to stand here: swinv2 test CONFIG CHECKPOINT")
    text = read_text(file, "config", at_most=_LARGEST)
    tree = None
    if file.suffix == ".py":
        tree = _parsed(text)
        bases = list(_bases_of_program(tree)) if tree is not None else []
    elif file.suffix in (".yaml", ".yml"):
        bases = _bases_of_data(_plain_yaml(text, file))
    elif file.suffix == ".json":
        bases = _bases_of_data(_json(text, file))
    else:
        raise UserError(f"config {shown(file)} is no .py, .yaml or .json file")
    _check_placeholders(text, tree, file)
    for base in bases:
        if "::" not in base:  # another library's
            check_sources(file.parent / base, (*above, file))


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # reading it says what is wrong, and where
        return None


def _bases_of_program(tree: ast.Module) -> Iterator[str]:
    """The bases that a program names in plain text, as mmengine needs them."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == _BASE for t in node.targets):
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def _bases_of_data(content: Any) -> list[str]:
    bases = content.get(_BASE, []) if isinstance(content, dict) else []
    return [base for base in (bases if isinstance(bases, list) else [bases]) if isinstance(base, str)]


def _plain_yaml(text: str, file: Path) -> Any:
    import yaml

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(getattr(error, "problem", None) or error).splitlines()
        raise UserError(
            f"config {shown(file)} is not read: it must be YAML of plain data, without Python objects, or a .py config "
            f"({shown(reason[0] if reason else error)})"
        ) from error
    if _entries(content, {}, ()) > _MOST_ENTRIES:
        raise UserError(f"config {shown(file)} is not read: its aliases make more than {_MOST_ENTRIES:,} entries of it")
    return content


def _entries(value: Any, counted: dict[int, int], above: tuple[int, ...]) -> int:
    """How many entries a value has, counting what appears several times as often."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) in above:
        return _MOST_ENTRIES + 1
    if id(value) not in counted:
        parts = value.values() if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_entries(part, counted, (*above, id(value))) for part in parts)
    return counted[id(value)]


def _json(text: str, file: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"config {shown(file)} is no valid JSON ({error}): correct it") from error


def _check_placeholders(text: str, tree: ast.Module | None, file: Path) -> None:
    """``{{'$NAME:default'}}`` is replaced by a variable's value, in the text: inside a string it must not end it, and
    elsewhere it must be a value, no expression."""
    bare = _bare_placeholders(tree) if tree is not None else None
    for name in _PLACEHOLDER.findall(text):
        value = os.environ.get(name)
        if value is None:
            continue
        if bare is None:
            fits, need = re.fullmatch(r"[\w./~ :-]*", value) is not None, "hold no signs other than . / ~ : - and _"
        elif name in bare:
            fits, need = _is_literal(value), "be a number, True, False, None or quoted"
        else:
            fits = re.search(r"""['"\\\n\r{}\0]""", value) is None
            need = "hold no quotes, backslashes or braces"
        if not fits:
            raise UserError(
                f"environment variable {name}={shown(value)!r} would become a part of config {shown(file)}, which is a "
                f"program or may build objects: it must {need}"
            )


def _bare_placeholders(tree: ast.Module) -> set[str]:
    """Names of placeholders that stand outside strings, where they are, to Python, sets of sets of a text."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Set):
            texts = [str(part.value) for part in ast.walk(node) if isinstance(part, ast.Constant)]
            found |= {match[1] for text in texts if (match := re.match(r"\s*\$(\w+)\s*:", text))}
    return found


def _is_literal(value: str) -> bool:
    try:
        ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return "\n" not in value and "\\" not in value

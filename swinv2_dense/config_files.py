"""The configs that come with the package: at the repository's top level in a checkout, in the package in a wheel.

Nothing here reads a config; mmengine does.
"""

from __future__ import annotations

from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.suggestions import did_you_mean

__all__ = ["CONFIGS", "STRATEGIES", "config_names", "find_config"]

_PACKAGE = Path(__file__).resolve().parent

_IN_WHEEL, _IN_CHECKOUT = _PACKAGE / "configs", _PACKAGE.parent / "configs"

CONFIGS = _IN_WHEEL if _IN_WHEEL.is_dir() else _IN_CHECKOUT
STRATEGIES = CONFIGS / "_base_" / "strategies"


def config_names() -> dict[str, Path]:
    """Name, such as ``coco/htc_swinv2_t``, and file of every config that can be run."""
    files = (path for path in CONFIGS.rglob("*.py") if path.relative_to(CONFIGS).parts[0] != "_base_")
    return {path.relative_to(CONFIGS).with_suffix("").as_posix(): path for path in sorted(files)}


def _alias(name: str) -> Path | None:
    """The config of a model by MMPretrain's name for it, such as ``swinv2-tiny-w8_3rdparty_in1k-256px``."""
    if "3rdparty" not in name:
        return None
    from swinv2_dense.model_index import alias_of  # reads the metafiles

    model = alias_of(name)
    return None if model is None else model.config


def find_config(name: str | Path) -> Path:
    """The file of a config that is given by its path, or by its name: ``coco/htc_swinv2_t`` or ``htc_swinv2_t``.

    A file of that path comes first. ``configs/`` before the name and ``.py`` after it may stay.

    Raises:
        UserError: there is no such file and no such name, or several configs end in this name.
    """
    path = Path(name)
    if path.is_file():
        return path
    if (alias := _alias(str(name))) is not None:
        return alias
    names = config_names()
    wanted = path.as_posix().removeprefix("configs/").removesuffix(".py")
    found = [known for known in names if known == wanted] or [k for k in names if k.endswith(f"/{wanted}")]
    if len(found) == 1:
        return names[found[0]]
    if found:
        raise UserError(f"config {name} could be {' or '.join(found)}: give one of these names")
    stems = {known.rpartition("/")[2] for known in names}
    hint = did_you_mean(wanted, [*names, *stems], otherwise="swinv2 models lists the names")
    what = f"config file {name} does not exist" if path.suffix or len(path.parts) > 1 else f"no config {name!r}"
    raise UserError(f"{what}; {hint}")

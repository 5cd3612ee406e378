"""What the metafiles beside the configs say of each model. Imports no torch: a list of models is to appear at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from swinv2_dense.config_files import CONFIGS, config_names
from swinv2_dense.errors import UserError

__all__ = ["Model", "alias_of", "models", "read_metafile", "released_weights"]

# Folder of configs -> what its models do.
_TASKS = {
    "coco": "detection, masks",
    "coco/objects365": "detection",
    "ade20k": "segmentation",
    "kinetics400": "video",
    "imagenet": "classification",
    "simmim": "pre-training",
    "demo": "demo",
}


@dataclass(frozen=True)
class Model:
    """A config and what is known of its model.

    ``scores``: by metric, as reported in the paper (of ImageNet's classifiers: in MMPretrain's model zoo) and not
    reproduced here. ``parameters`` and ``flops``
    (multiply-adds of one forward pass): None where no metafile has them. ``weights``: address of the authors' file,
    where they released one; ``aliases``: the same model's names elsewhere, MMPretrain's.
    """

    name: str
    config: Path
    task: str
    parameters: int | None = None
    flops: int | None = None
    scores: dict[str, float] = field(default_factory=dict)
    weights: str | None = None
    aliases: tuple[str, ...] = ()


def models(pattern: str = "") -> list[Model]:
    """The models whose name has ``pattern`` in it, or matches it where it has wildcards: ``*_swinv2_[tb]``."""
    known = _metafiles()
    found = []
    for name, path in config_names().items():
        entry = known.get(path, {})
        aliases = tuple(entry.get("Alias") or ())
        if not any(_matches(one, pattern) for one in (name, *aliases)):
            continue
        metadata = entry.get("Metadata") or {}
        scores = {k: v for result in entry.get("Results") or [] for k, v in result["Metrics"].items()}
        task = _TASKS.get(name.rpartition("/")[0], "")
        counted = metadata.get("Parameters"), metadata.get("FLOPs")
        found.append(Model(name, path, task, *counted, scores, entry.get("Weights"), aliases))
    return found


def alias_of(name: str) -> Model | None:
    """The model that is called ``name`` elsewhere; None where none is."""
    return next((model for model in models(name) if name in model.aliases), None)


def released_weights(config: str | Path | None) -> str | None:
    """Address of the weights that the authors released for one of our configs; None where they did not."""
    path = None if config is None else Path(config).resolve()
    return next((entry.get("Weights") for file, entry in _metafiles().items() if file.resolve() == path), None)


def _matches(name: str, pattern: str) -> bool:
    name, pattern = name.lower(), pattern.lower()
    if any(sign in pattern for sign in "*?["):
        return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern)
    return pattern in name


def _metafiles() -> dict[Path, dict[str, Any]]:
    """By config file, what the metafiles say."""
    entries = [entry for path in CONFIGS.rglob("metafile.yml") for entry in read_metafile(path)["Models"]]
    return {CONFIGS.parent / entry["Config"]: entry for entry in entries}


def read_metafile(path: Path) -> dict[str, Any]:
    """A metafile's content.

    Raises:
        UserError: it is no YAML with ``Models``.
    """
    import yaml

    try:
        # The C loader takes a tenth of the time; it is not in every build of PyYAML.
        content = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML ({str(error).splitlines()[0]}): correct it") from error
    if not isinstance(content, dict) or not isinstance(content.get("Models"), list):
        raise UserError(f"{path} has no list of Models: correct it")
    return content

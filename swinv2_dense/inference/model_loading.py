"""A model ready to predict, from a checkpoint, a config's name or a config."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swinv2_dense import extras
from swinv2_dense.config_files import find_config
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.inference.augmentation import augmentation
from swinv2_dense.inference.turns import turn
from swinv2_dense.model_index import models, released_weights

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

__all__ = ["LoadedModel", "get_model", "is_exported", "list_models", "load_exported", "load_model"]

# A config's default_scope -> its task.
TASKS = {"mmdet": "detection", "mmseg": "segmentation", "mmaction": "video", "mmpretrain": "classification"}


@dataclass
class LoadedModel:
    """``model``: in evaluation mode, on its device. ``task``: one of ``TASKS``' values, or 'simmim'. ``pipeline``: what
    makes a batch's entry of an image. ``classes``, ``palette`` (RGB): empty where nobody says them. ``misfit``: of an
    exported file, why it cannot take an entry, or None."""

    model: nn.Module
    cfg: Config
    scope: str
    task: str
    pipeline: list[Any]
    device: str
    classes: list[str] = field(default_factory=list)
    palette: list[Any] = field(default_factory=list)
    misfit: Callable[[Any], str | None] | None = None


def list_models(pattern: str = "") -> list[str]:
    """Names of our configs that have ``pattern`` in them, or match it where it has wildcards: ``*_swinv2_[tb]``."""
    if not isinstance(pattern, str):
        raise UserError(f"a pattern of names is text, such as 'htc', not {pattern!r}")
    return [model.name for model in models(pattern)]


@turn()
def get_model(
    model: str | os.PathLike[str] | Config,
    pretrained: bool | str | os.PathLike[str] | Mapping[str, Any] | None = False,
    device: str | None = None,
) -> nn.Module:
    """Build a model.

    Args:
        model: name or path of a config (:func:`list_models`), or a config.
        pretrained: a checkpoint, as :func:`swinv2_dense.checkpoint.load_pretrained` takes it; or True for the authors'
            released file, or the one that the config names in ``load_from``. Heads that it lacks stay as initialised,
            as the log says.
        device: such as ``cuda:0`` (default: a GPU where there is one).

    Returns:
        the model in evaluation mode, with its config as ``model.cfg``.

    Raises:
        UserError: no such config, its library does not import, no such checkpoint or one that does not fit.
    """
    cfg = _read_config(model)
    source = None if isinstance(pretrained, bool) else pretrained
    if pretrained is True:
        source = released_weights(cfg.filename) or cfg.get("load_from")
    if pretrained is True and not source:
        raise UserError(
            "pretrained=True: nobody has released weights of this model; give a checkpoint, pretrained=PATH "
            "(any publisher's SwinV2 classifier fills the backbone)"
        )
    scope = _import_library(cfg)
    built: Any = _build(cfg, scope)
    built._dump_init_info = lambda *_: None  # it would report every parameter: hundreds of lines
    built.init_weights()
    del built._dump_init_info
    if source is not None:
        from swinv2_dense.checkpoint import load_pretrained

        load_pretrained(built, source)
    return _ready(built, cfg, device)


@turn()
def load_model(
    checkpoint: str | os.PathLike[str] | nn.Module,
    config: str | os.PathLike[str] | Config | None = None,
    *,
    device: str | None = None,
    window: int | Sequence[int] | None = None,
    tta: bool = False,
) -> LoadedModel:
    """The model of a run's checkpoint, with all that prediction needs.

    Args:
        checkpoint: a ``.pth`` that training saved, which holds its config, or the work dir, for its best one; weights
            alone with ``config``; or a model of :func:`get_model`.
        config: name or path of a config, or a config; in the place of the checkpoint's.
        window: tokens, in the place of the config's window; a model has been built with its own.
        tta: by the config's ``tta_model`` and ``tta_pipeline``; an image and its mirror image where it has none.

    Raises:
        UserError: nothing there, no config known, weights of another model, or an option that does not fit.
    """
    from torch import nn

    if isinstance(checkpoint, nn.Module):
        return _of_model(checkpoint, config, device, window, tta)
    if not isinstance(checkpoint, (str, os.PathLike)) or not os.fspath(checkpoint):
        raise UserError(f"a checkpoint is a path or a model of get_model, not {shown(repr(checkpoint), 80)}")
    from swinv2_dense.checkpoint import check_complete, load_pretrained, read_meta
    from swinv2_dense.inference.run_folders import checkpoint_of

    source = checkpoint_of(checkpoint)
    meta = read_meta(source)
    cfg = _read_config(config) if config is not None else _stored_config(meta, source)
    scope = _import_library(cfg)
    if config is None:
        _check_stored(cfg, scope, source)
    if window is not None:
        cfg.model.backbone.window_size = tuple(window) if isinstance(window, Sequence) else window
    built: Any = _build(cfg, scope)
    report = load_pretrained(built, source)
    check_complete(built, report.loaded, source)
    classes, palette = _names(meta.get("dataset_meta"), cfg, scope)
    built.dataset_meta = {"classes": classes, "palette": palette}  # as the libraries' own models have it
    pipeline = _pipeline(cfg)
    if tta:
        built, pipeline = _with_tta(built, cfg, scope)
    model = _ready(built, cfg, device)
    where = str(next(model.parameters()).device)
    return LoadedModel(model, cfg, scope, _task(cfg, scope), pipeline, where, classes, palette)


def is_exported(source: Any) -> bool:
    """Whether it is the path of a file that ``swinv2 export`` writes."""
    return isinstance(source, (str, os.PathLike)) and Path(source).suffix in (".onnx", ".pt2")


@turn()
def load_exported(
    path: str | os.PathLike[str],
    config: str | os.PathLike[str] | Config | None = None,
    *,
    device: str | None = None,
    window: int | Sequence[int] | None = None,
    tta: bool = False,
) -> LoadedModel:
    """An exported file in the place of :func:`load_model`'s model, with the same arguments.

    Raises:
        UserError: no such file, or none of ours; it does not say how images are prepared; or an option that a file
            cannot follow.
    """
    source = os.fspath(path)
    from swinv2_dense.export.loaded import load

    exported = load(source)
    if tta:
        raise UserError(f"--tta: {source} is one graph, without test-time augmentation; predict with the checkpoint")
    if window is not None:
        has = exported.metadata.get("window_size")
        raise UserError(f"--window: the window is a constant of {source} ({has}); load the checkpoint with another")
    if device not in (None, "cpu"):
        raise UserError(f"--device {device}: {source} runs where its runtime does; leave the device out")
    meta: Mapping[str, Any] = {"cfg": exported.metadata.get("config")}
    if config is None and meta["cfg"] is None:
        raise UserError(
            f"{source} does not say how images are prepared, as its model had no config when it was exported: "
            "add the config, --config NAME, or read it by swinv2_dense.export.load"
        )
    cfg = _read_config(config) if config is not None else _stored_config(meta, source)
    scope = _import_library(cfg)
    if config is None:
        _check_stored(cfg, scope, source)
    from swinv2_dense.inference.exported_model import file_model

    names = exported.metadata if exported.metadata.get("classes") else None
    classes, palette = _names(names, cfg, scope)
    model = file_model(exported, cfg)
    return LoadedModel(model, cfg, scope, _task(cfg, scope), _pipeline(cfg), "cpu", classes, palette, model.problem)


def _of_model(model: nn.Module, config: Any, device: str | None, window: Any, tta: bool) -> LoadedModel:
    if window is not None:
        raise UserError(f"window={window!r}: this model has been built with its own; give its checkpoint instead")
    cfg: Config | None = getattr(model, "cfg", None) if config is None else _read_config(config)
    if cfg is None:
        raise UserError("this model has no config: make it by get_model, give the config too, or give a checkpoint")
    scope, kind = _import_library(cfg), str(cfg.model.get("type")).rpartition(".")[2]
    if config is not None and kind != type(model).__name__:
        raise UserError(f"the config is of a {kind}, and the model is a {type(model).__name__}: give the model's own")
    classes, palette = _names(getattr(model, "dataset_meta", None), cfg, scope)
    pipeline = _pipeline(cfg)
    if tta:
        model, pipeline = _with_tta(model, cfg, scope)
    model = (model if device is None else _on(device, model)).eval()
    where = str(next(model.parameters()).device)
    return LoadedModel(model, cfg, scope, _task(cfg, scope), pipeline, where, classes, palette)


def _read_config(config: str | os.PathLike[str] | Config) -> Config:
    from mmengine.config import Config

    from swinv2_dense.checks.config_source import read_config

    if isinstance(config, Config):
        return config
    if not isinstance(config, (str, os.PathLike)):
        raise UserError(f"a config is a name, a path or an mmengine Config, not {shown(repr(config), 80)}")
    path = find_config(os.fspath(config))
    try:
        return read_config(path)
    except UserError:
        raise
    except Exception as error:  # a config is a program of the user's: whatever it raises is about the config
        raise UserError(f"config {path} cannot be read: {type(error).__name__}: {error}") from error


def _stored_config(meta: Mapping[str, Any], source: str) -> Config:
    from mmengine.config import Config

    from swinv2_dense.inference.stored_config import config_of, import_named

    text = meta.get("cfg")
    if not isinstance(text, str):
        raise UserError(
            f"{source} holds weights alone, and not what they are the weights of: add the config, --config NAME "
            "(swinv2 models lists the names)"
        )
    entries = config_of(text, source)
    for key in ("model", "test_dataloader", "val_dataloader", "train_dataloader"):
        for path, value in _nested(key, entries.get(key)):
            if value is not None and not isinstance(value, Mapping):
                raise UserError(f"the config in {source} has {path}={shown(repr(value), 80)}: it must be a dict")
    import_named(entries)
    return Config(entries)


def _nested(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A loader, its data set, and the data sets that this one wraps; of a model itself."""
    yield key, value
    inner = "dataset" if key.endswith(("dataloader", "dataset")) else "backbone"
    if isinstance(value, Mapping) and inner in value:
        yield from _nested(f"{key}.{inner}", value[inner])


def _check_stored(cfg: Config, scope: str, source: str) -> None:
    from swinv2_dense.inference.stored_config import check_types

    parts = [cfg.get("model"), cfg.get("tta_model"), cfg.get("tta_pipeline"), _pipeline(cfg)]
    check_types(parts, scope, source)


def _import_library(cfg: Config) -> str:
    """Import the library that a config is for; returns its name."""
    scope = str(cfg.get("default_scope") or "")
    if scope not in TASKS or "model" not in cfg:
        raise UserError(f"the config has default_scope={scope!r}: predicting needs a model of {', '.join(TASKS)}")
    try:
        if scope == "mmaction":
            importlib.import_module("swinv2_dense.compat.mmaction_imports")
        importlib.import_module(f"{scope}.registry")
    except ImportError as error:
        raise UserError(extras.missing("this model", error, extras.EXTRAS[scope])) from error
    return scope


def _task(cfg: Config, scope: str) -> str:
    return "simmim" if "SimMIM" in str(cfg.model.get("type")) else TASKS[scope]


def _build(cfg: Config, scope: str) -> nn.Module:
    from mmengine.registry import MODELS, DefaultScope

    with DefaultScope.overwrite_default_scope(scope):
        try:
            built: nn.Module = MODELS.build(cfg.model)
        except (TypeError, AttributeError, AssertionError) as error:  # what constructors say of wrong arguments
            raise UserError(f"the config's model cannot be built ({type(error).__name__}: {error})") from error
    return built


def _ready(model: nn.Module, cfg: Config, device: str | None) -> nn.Module:
    """In evaluation mode, on its device, with batch norms that need no other process."""
    import torch
    from mmengine.model import revert_sync_batchnorm

    model = revert_sync_batchnorm(model)
    model = _on(device or ("cuda" if torch.cuda.is_available() else "cpu"), model).eval()
    model.cfg = cfg
    return model


def _on(device: str, model: nn.Module) -> nn.Module:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error


def _pipeline(cfg: Config) -> list[Any]:
    for split in ("test", "val", "train"):
        dataset = (cfg.get(f"{split}_dataloader") or {}).get("dataset", {})
        while "pipeline" not in dataset and "dataset" in dataset:
            dataset = dataset["dataset"]
        if "pipeline" in dataset:
            return list(dataset["pipeline"])
    raise UserError("the config has no test_dataloader with a pipeline: nothing says how to prepare an image")


def _with_tta(model: nn.Module, cfg: Config, scope: str) -> tuple[nn.Module, list[Any]]:
    from mmengine.registry import MODELS, DefaultScope

    merging, pipeline = augmentation(cfg, _pipeline(cfg))
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build({**merging, "module": model}), pipeline


def _names(meta: Any, cfg: Config, scope: str) -> tuple[list[str], list[Any]]:
    """Class names and colours: the checkpoint's, else those of the config's data set."""
    meta = {str(key).lower(): value for key, value in (meta or {}).items()} if isinstance(meta, Mapping) else {}
    if not isinstance(meta.get("classes"), (list, tuple)):
        dataset = (cfg.get("test_dataloader") or cfg.get("train_dataloader") or {}).get("dataset", {})
        meta = {**_data_set_s(str(dataset.get("type", "")), scope), **(dataset.get("metainfo") or {})}
        if dataset.get("type") == "swinv2_dense.ClassFolderImages" and dataset.get("num_classes") == 1000:
            from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

            meta.setdefault("classes", list(IMAGENET_CATEGORIES))
    classes = meta.get("classes")
    if isinstance(classes, str) and Path(classes).is_file():  # a file with a name per line, as video configs have
        classes = Path(classes).read_text(encoding="utf-8").splitlines()
    palette = meta.get("palette")
    return (
        list(classes) if isinstance(classes, (list, tuple)) else [],
        [tuple(colour) for colour in palette] if isinstance(palette, (list, tuple)) else [],
    )


def _data_set_s(name: str, scope: str) -> Mapping[str, Any]:
    from mmengine.registry import DATASETS, DefaultScope

    with DefaultScope.overwrite_default_scope(scope):
        found = DATASETS.switch_scope_and_registry(scope)
        with found as registry:
            return dict(getattr(registry.get(name), "METAINFO", {}) or {}) if name else {}

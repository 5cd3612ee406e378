"""Mistakes in a config, found before the model is built and the data are read."""

from __future__ import annotations

import copy
import importlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, init_default_scope

from swinv2_dense import extras
from swinv2_dense.checkpoint import read
from swinv2_dense.checks.channels import check_channels
from swinv2_dense.checks.classes import check_losses, check_same_classes
from swinv2_dense.checks.dataset import check_dataset, leaf_datasets
from swinv2_dense.checks.loaders import check_evaluator
from swinv2_dense.checks.options import options_of
from swinv2_dense.checks.scoring import (
    check_loader,
    check_metrics,
    check_scored,
    check_test_cfg,
    check_wrappers,
    is_scored,
)
from swinv2_dense.engine.runner.training_state import candidates
from swinv2_dense.errors import UserError
from swinv2_dense.launcher import is_first_process, process_count, started_by_torchrun
from swinv2_dense.registry import MODELS
from swinv2_dense.suggestions import did_you_mean

__all__ = ["check", "check_checkpoint", "check_processes"]

_SCOPE = "swinv2_dense."

_TRIED = 2**20  # bytes that the work dir must take


def check(cfg: Config, splits: Sequence[str], *, cut: bool = False) -> None:
    """Check a config, and the data of the given splits ('train', 'val', 'test').

    Args:
        cut: the data sets are cut to their first images, for a fast-dev-run.

    Raises:
        UserError: the first mistake found.
    """
    _check_library(cfg.get("default_scope"))
    _check_device(cfg)
    _check_work_dir(Path(cfg.work_dir))
    _check_options_of_ours(cfg.model, "model")
    _check_checkpoints(cfg)
    check_losses(cfg.model)
    check_test_cfg(cfg)
    if "train" in splits and not cfg.get("strategy"):  # strategies bring optimizers of their own
        _check_optimizer(cfg.optim_wrapper.get("optimizer"))
    used = [s for s in splits if cfg.get(f"{s}_cfg") and cfg.get(f"{s}_dataloader")]
    for split in used:
        check_channels(cfg, leaf_datasets(cfg[f"{split}_dataloader"].dataset, f"{split}_dataloader.dataset"))
    if is_first_process(cfg.get("launcher", "none")):  # one process reading annotations is enough
        _check_data(cfg, used, cut)


def _check_optimizer(optimizer: Any) -> None:
    """mmengine asks for the signature of whatever it finds, None too."""
    name = (optimizer or {}).get("type")
    if isinstance(name, str) and OPTIMIZERS.get(name) is None:
        known = OPTIMIZERS.root.module_dict
        raise UserError(f"optim_wrapper.optimizer.type={name!r} does not exist: {did_you_mean(name, known)}")


def _check_data(cfg: Config, splits: Sequence[str], cut: bool) -> None:
    named: list[tuple[str, Sequence[str]]] = []
    checked: list[Any] = []
    for split in splits:
        evaluator_key = f"{split}_evaluator"
        scored = split != "train" and is_scored(cfg.get(evaluator_key))
        if split != "train":
            check_metrics(cfg, evaluator_key)
            loader = cfg[f"{split}_dataloader"]
            check_loader(loader, f"{split}_dataloader")
            check_wrappers(cfg.get(evaluator_key), evaluator_key, loader.dataset, f"{split}_dataloader.dataset")
        datasets = list(leaf_datasets(cfg[f"{split}_dataloader"].dataset, f"{split}_dataloader.dataset"))
        for key, dataset in datasets:
            if split != "train":
                check_scored(cfg.get(evaluator_key), evaluator_key, key, dataset, cut=cut)
            if any(dataset == other for other in checked):  # configs test on what they validate on
                continue
            checked.append(copy.deepcopy(dataset))
            classes = check_dataset(cfg, key, dataset, train=split == "train", scored=scored)
            if classes is not None:
                named.append((key, classes))
        if split != "train" and len(datasets) == 1:
            check_evaluator(cfg.get(evaluator_key), evaluator_key, *datasets[0])
    check_same_classes(named)


def _check_library(scope: str | None) -> None:
    extra = extras.EXTRAS.get(scope or "")
    if extra is None:
        return
    try:
        importlib.import_module(scope or "")
    except ImportError as error:
        raise UserError(extras.missing("this config", error, extra)) from error
    init_default_scope(scope or "")


def _check_device(cfg: Config) -> None:
    gpu = torch.cuda.is_available()
    if str(cfg.get("device", "")).startswith("cuda") and not gpu:
        raise UserError("device='cuda', but torch sees no GPU: swinv2 doctor says why")
    check_processes(cfg)


def check_processes(cfg: Config) -> None:
    """Check whether the processes of a launch can meet.

    Raises:
        UserError: they cannot.
    """
    gpu = torch.cuda.is_available()
    if cfg.get("launcher", "none") == "none":
        return
    if cfg.launcher == "pytorch" and not started_by_torchrun():
        raise UserError(
            "--launcher pytorch expects torchrun: start it by torchrun -m swinv2_dense, or tools/dist_train.sh"
        )
    if cfg.get("env_cfg", {}).get("dist_cfg", {}).get("backend", "nccl") == "nccl" and not gpu:
        raise UserError(
            f"--launcher {cfg.launcher} with backend nccl needs GPUs and torch sees none: "
            "use --cfg-options env_cfg.dist_cfg.backend=gloo on CPUs"
        )
    if not gpu and process_count(cfg.launcher) > 1 and (cfg.get("sync_bn") or _has_sync_bn(cfg.model)):
        raise UserError(
            "batch norm over all processes (sync_bn, SyncBN) needs GPUs and torch sees none: use --cfg-options "
            "sync_bn=None, and norm_cfg.type=BN in the model"
        )


def _has_sync_bn(node: Any) -> bool:
    if isinstance(node, dict):
        return node.get("type") in ("SyncBN", "MMSyncBN") or any(map(_has_sync_bn, node.values()))
    return isinstance(node, (list, tuple)) and any(map(_has_sync_bn, node))


def _check_work_dir(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_TRIED))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"work_dir {folder} cannot be written to ({error.strerror}): choose another by --work-dir"
        ) from error


def _check_options_of_ours(node: Any, path: str) -> None:
    """Refuse an option that a model of ours does not have, naming the one that was probably meant."""
    if isinstance(node, dict):
        name = str(node.get("type"))
        if name.startswith(_SCOPE):
            model = MODELS.get(name)
            if model is None:
                raise UserError(f"{path}.type={name!r} does not exist: {_meant(name, MODELS.module_dict)}")
            options = options_of(model)
            for key in node:
                if key not in options and key != "type":
                    raise UserError(f"{path} ({name}) has no option {key!r}: {_meant(key, options)}")
        for key, value in node.items():
            _check_options_of_ours(value, f"{path}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            _check_options_of_ours(value, f"{path}.{index}")


def _meant(word: str, words: Iterable[str]) -> str:
    return did_you_mean(word.removeprefix(_SCOPE), words)


def _check_checkpoints(cfg: Config) -> None:
    source = cfg.get("load_from")
    if cfg.get("resume") and not source:
        if not candidates(cfg.work_dir):
            raise UserError(
                f"--resume: {cfg.work_dir} holds no checkpoint to resume from: "
                "leave --resume out to start from scratch, or name the checkpoint, --resume PATH"
            )
    elif source:
        check_checkpoint(source, "--resume" if cfg.get("resume") else "load_from")
    for path, checkpoint in _init_checkpoints(cfg.model, "model"):
        check_checkpoint(checkpoint, path)
        if "backbone" not in path and ":" not in checkpoint:
            read(checkpoint)  # mmengine's own loader will read it, and would run the code in it


def _init_checkpoints(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if node.get("type") == "Pretrained" and isinstance(node.get("checkpoint"), str):
            yield f"{path}.checkpoint", node["checkpoint"]
        if not _is_init_cfg(node.get("init_cfg")):
            raise UserError(
                f"{path}.init_cfg={node['init_cfg']!r} is no dict: on the command line write "
                f"{path}.init_cfg.type=Pretrained {path}.init_cfg.checkpoint=PATH"
            )
        if node.get("pretrained") and isinstance(node.get("pretrained"), str) and path.count(".") < 2:
            place = path if path.endswith("backbone") else f"{path}.backbone"
            raise UserError(
                f"{path}.pretrained={node['pretrained']} is the old way, which reads mmcv's names alone: write "
                f"{place}.init_cfg=dict(type='Pretrained', checkpoint='{node['pretrained']}') instead"
            )
        for key, value in node.items():
            yield from _init_checkpoints(value, f"{path}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _init_checkpoints(value, f"{path}.{index}")


def _is_init_cfg(value: Any) -> bool:
    parts = value if isinstance(value, (list, tuple)) else [value]
    return value is None or all(isinstance(part, dict) for part in parts)


def check_checkpoint(source: str, key: str) -> None:
    """Refuse a path to nothing; ``key`` says where it was given. What has a colon (timm:NAME, a URL) is no path."""
    if ":" not in source and not os.path.lexists(source) and not os.path.exists(source.rpartition("#")[0]):
        raise UserError(f"checkpoint {source} does not exist: correct {key}")

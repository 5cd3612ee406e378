"""A config turned into one that trains on own data, complete and on its own."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown, write_text
from swinv2_dense.launcher import process_count
from swinv2_dense.own_data.formats import read
from swinv2_dense.own_data.heads import set_classes
from swinv2_dense.own_data.layout import replace_dataset, write_dataset
from swinv2_dense.own_data.samples import Found, Sample, image_size
from swinv2_dense.own_data.schedule import default_epochs, set_schedule
from swinv2_dense.own_data.sizes import config_size, scale_sizes, sensible_size
from swinv2_dense.planning.fit import largest_batch
from swinv2_dense.progress import Progress, silent

__all__ = ["Choices", "use_own_data"]

_MEASURED = 200  # images whose size is looked at


@dataclass(frozen=True)
class Choices:
    """What a user may choose; None: by the rules of :mod:`~swinv2_dense.own_data.sizes` and ``schedule``.

    ``batch``: of each process; 0 for the largest that fits the memory. ``images``: the folder of a COCO file's images.
    ``ignore``: values of index maps that are not trained on. ``seed``: of the split.
    """

    image_size: int | None = None
    epochs: int | None = None
    batch: int | None = None
    images: Path | None = None
    ignore: Sequence[int] | None = None
    seed: int = 0


def use_own_data(cfg: Config, data: Path, choices: Choices, progress: Progress = silent) -> tuple[Config, list[str]]:
    """A config that trains on ``data``, and lines that say what was found and set.

    Writes ``WORK_DIR/own_data``: the lists or annotations of each split, converted index maps, and ``config.py``, which
    trains the same without ``data`` being named again. Images and clips stay where they are.

    Raises:
        UserError: a mistake in the data, or a model that cannot learn from them.
    """
    cfg = _own_keys(cfg)
    scope, folder = str(cfg.get("default_scope")), Path(cfg.work_dir, "own_data").absolute()
    if "train_dataloader" not in cfg or "val_dataloader" not in cfg:
        raise UserError("--data needs a config that trains and validates: this one has no such dataloaders")
    found = read(
        data.absolute(),
        scope,
        folder,
        images=choices.images,
        ignore=choices.ignore,
        seed=choices.seed,
        progress=progress,
    )
    set_classes(cfg, len(found.classes), masks=found.masks)
    _set_datasets(cfg, found, scope, folder)
    said = [f"{found.format}: {_counts(found)}; {len(found.classes)} classes: {_names(found.classes)}", *found.notes]
    said.append(_set_size(cfg, found, choices.image_size, scope))
    (samples, left_out), processes = _trained_on(cfg, found), process_count(str(cfg.get("launcher")))
    said += left_out
    if choices.batch is None:
        batch = max(1, min(cfg.train_dataloader.batch_size, len(samples) // processes))
    elif choices.batch == 0:
        # UperNet pools to one value a channel, which batch norm takes of two images or more
        batch = largest_batch(cfg, least=2 if scope == "mmseg" else 1, most=max(1, len(samples) // 4 // processes))
    else:
        batch = choices.batch
    epochs = choices.epochs if choices.epochs is not None else default_epochs(cfg, len(samples), batch * processes)
    set_schedule(cfg, len(samples), batch, epochs, processes)
    several = f" in each of {processes} processes" if processes > 1 else ""
    said.append(f"{epochs} epochs in batches of {batch}{several}, learning rate {cfg.optim_wrapper.optimizer.lr:.3g}")
    path = folder / "config.py"
    write_text(path, cfg.pretty_text)
    said.append(f"the whole config is {path}: it trains the same without --data")
    work_dir, launcher = cfg.work_dir, cfg.get("launcher", "none")
    written = Config.fromfile(path)  # what is trained is what was written
    written.work_dir, written.launcher = work_dir, launcher
    return written, said


def _own_keys(cfg: Config) -> Config:
    """A copy without the variables from which a config file is put together, which would be stale."""
    known = {*inspect.signature(Runner.__init__).parameters, "custom_imports", "tta_model", "tta_pipeline", "strategy",
             "sync_bn", "activation_checkpointing", "find_unused_parameters", "compile", "device"}  # fmt: skip
    kept = {key: deepcopy(value) for key, value in cfg.items() if key in known}
    return Config(kept, filename=cfg.filename)


def _set_datasets(cfg: Config, found: Found, scope: str, folder: Path) -> None:
    for split in ("train", "val"):
        entries = write_dataset(found, scope, split, folder)
        loader = cfg[f"{split}_dataloader"]
        loader.num_workers = min(loader.get("num_workers", 0), os.cpu_count() or 1)
        loader.dataset = replace_dataset(loader.dataset, entries, train=split == "train")
        for step in loader.dataset.pipeline:
            if step["type"] == "swinv2_dense.LoadIndexMap":
                step["num_classes"] = len(found.classes)
        if split == "val":
            for key in ("val_evaluator", "test_evaluator"):
                if isinstance(cfg.get(key), dict) and cfg[key].get("ann_file"):
                    cfg[key].ann_file = entries["ann_file"]
                if isinstance(cfg.get(key), dict) and cfg[key].get("type") == "Accuracy":
                    cfg[key].topk = tuple(k for k in (1, 5) if k <= len(found.classes))
                if isinstance(cfg.get(key), dict) and cfg[key].get("type") == "CocoMetric":
                    cfg[key].classwise = True
    if cfg.get("test_dataloader"):
        cfg.test_dataloader.dataset = deepcopy(cfg.val_dataloader.dataset)


def _trained_on(cfg: Config, found: Found) -> tuple[list[Sample], list[str]]:
    """The samples that a data set keeps, and what to say: mmdet's leave out images without objects, and small ones."""
    samples, said = found.splits["train"], []
    options = cfg.train_dataloader.dataset.get("filter_cfg") or {}
    if options.get("filter_empty_gt"):
        held = [sample for sample in samples if any(not o.get("iscrowd") for o in sample.objects)]
        if not held:
            raise UserError("own data: no image to train on holds an object")
        if len(held) < len(samples):
            said.append(f"{len(samples) - len(held)} images without objects are not trained on")
        samples = held
    least = options.get("min_size", 0)
    if small := [sample for sample in samples if sample.size is not None and min(sample.size) < least]:
        remedy = "--cfg-options train_dataloader.dataset.filter_cfg.min_size=1 trains on them"
        line = f"{len(small)} images have a side below {least} pixels, the first is {shown(small[0].path)}: {remedy}"
        if len(small) == len(samples):
            raise UserError(f"own data: all {line}")
        said.append(f"not trained on: {line}")
        samples = [sample for sample in samples if sample.size is None or min(sample.size) >= least]
    return samples, said


def _set_size(cfg: Config, found: Found, size: int | None, scope: str) -> str:
    before = config_size(cfg)
    if size is None and before is not None and scope != "mmaction":
        samples = found.splits["train"]
        places = np.unique(np.linspace(0, len(samples) - 1, min(_MEASURED, len(samples))).astype(int))
        size = sensible_size(before, [min(samples[i].size or image_size(samples[i].path)) for i in places])
    if size is not None and size != before:
        scale_sizes(cfg, size)
    return (
        f"tested at a short side of {config_size(cfg)} pixels, trained at sizes in proportion (the config's: {before})"
    )


def _counts(found: Found) -> str:
    what = "clips" if "clips" in found.format else "images"
    return f"{len(found.splits['train'])} {what} to train on, {len(found.splits['val'])} to validate"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")

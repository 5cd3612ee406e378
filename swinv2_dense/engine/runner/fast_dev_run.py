"""A few iterations of everything, so that a mistake shows in a minute instead of after an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from swinv2_dense.launcher import process_count

__all__ = ["shorten"]


def shorten(cfg: Config, batches: int) -> None:
    """Change a config so that it trains ``batches`` iterations, then validates and tests on as many batches.

    The loops, pipelines, hooks and evaluators stay what they are. The data sets are cut down to what the batches need,
    data are read in the main process, no checkpoint is written, and the log goes to a folder of its own.
    """
    cfg.work_dir = str(Path(cfg.work_dir, "fast_dev_run"))
    samples = batches * process_count(cfg.get("launcher", "none"))
    for split in ("train", "val", "test"):
        loader = cfg.get(f"{split}_dataloader")
        if loader is not None:
            _keep_first(loader.dataset, samples * loader.get("batch_size", 1))
            loader.update(num_workers=0, persistent_workers=False)
            loader.pop("prefetch_factor", None)

    train = cfg.train_cfg
    train.pop("dynamic_intervals", None)
    if "max_iters" in train:
        train.update(max_iters=batches, val_begin=1, val_interval=batches)
    else:
        train.update(max_epochs=1, val_begin=1, val_interval=1)

    cfg.default_hooks.update(checkpoint=None)
    cfg.default_hooks.setdefault("logger", {"type": "LoggerHook"}).update(interval=1)


def _keep_first(dataset: Any, samples: int) -> None:
    """Keep the first samples of every data set inside wrappers such as RepeatDataset and ConcatDataset."""
    inner = dataset.get("datasets") or [dataset[key] for key in ("dataset",) if key in dataset]
    if "times" in dataset:
        dataset.times = 1
    if not inner:
        dataset.indices = samples
    for part in inner:
        _keep_first(part, samples)

"""Randomness as a function of the seed and the position in training, so that a resumed run is the run it was.

Generators whose states depend on everything drawn before cannot be saved: each worker process has its own, and reads
ahead of training. Here every sample's augmentation depends on the seed and on the number of the draw alone, and
everything that the model draws in an iteration on the seed, the iteration and the process. A resumed run then repeats
what the killed one would have done, with any number of workers; and N processes see the samples that one would see.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dataset.utils import worker_init_fn
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS as ALL_SAMPLERS
from mmengine.registry import DATASETS as ALL_DATASETS
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import BatchSampler, Dataset, IterableDataset, Sampler

from swinv2_dense.registry import DATA_SAMPLERS, FUNCTIONS, HOOKS

__all__ = [
    "Draw",
    "NumberedSampler",
    "RandomnessHook",
    "ReseededDataset",
    "SkippingBatchSampler",
    "reproducible",
    "reseed",
    "with_worker_init",
    "worker_init",
]

_SAMPLE, _ITERATION = 0, 1  # two streams of one seed


def reseed(seed: int, *position: int) -> None:
    """Set the generators of Python, NumPy and torch to what belongs to a position."""
    numbers = np.random.SeedSequence(seed, spawn_key=position).generate_state(3)
    random.seed(int(numbers[0]))
    np.random.seed(numbers[1])  # noqa: NPY002  the one that transforms draw from
    torch.manual_seed(int(numbers[2]))


class Draw(int):
    """An index into a data set that knows which draw it is: ``number`` over all processes, in ``epoch``."""

    epoch: int
    number: int

    def __new__(cls, index: int, epoch: int, number: int) -> Draw:
        draw = super().__new__(cls, index)
        draw.epoch, draw.number = epoch, number
        return draw

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (int(self), self.epoch, self.number)


class NumberedSampler(Sampler):
    """Another sampler's indices as draws. The other one gives every process each N-th index, as mmengine's do."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self.epoch, self.drawn = 0, 0

    def __deepcopy__(self, memo: object) -> NumberedSampler:
        return self  # mmengine copies a data loader's config before it builds it

    def __getattr__(self, name: str) -> Any:
        if name == "sampler" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.sampler, name)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Draw]:
        rank, processes = get_dist_info()
        for index in self.sampler:
            yield Draw(index, self.epoch, self.drawn * processes + rank)
            self.drawn += 1

    def set_epoch(self, epoch: int) -> None:
        if not self.endless:
            self.sampler.set_epoch(epoch)
            self.epoch, self.drawn = epoch, 0

    @property
    def endless(self) -> bool:
        """Whether the indices continue without epochs, as those of mmengine's ``InfiniteSampler``."""
        return hasattr(self.sampler, "skip")

    @property
    def skip(self) -> Any:
        """``skip(n)``: begin at this process's draw n. Only where the other sampler can."""
        advance = self.sampler.skip

        def begin_at(number: int) -> None:
            advance(number)
            self.drawn = number

        return begin_at


@DATA_SAMPLERS.register_module()
class SkippingBatchSampler(Sampler):
    """Another batch sampler's batches, without the first ``skipped`` ones, once.

    Args:
        sampler: gives the indices.
        batch_size: samples.
        inner: config of the other batch sampler; None for torch's own.
        drop_last: of torch's own.
    """

    def __init__(
        self, sampler: Any, batch_size: int, inner: Mapping[str, Any] | None = None, drop_last: bool = False
    ) -> None:
        self.sampler, self.batch_size, self.skipped = sampler, batch_size, 0
        self.inner: Any = (
            BatchSampler(sampler, batch_size, drop_last)
            if inner is None
            else ALL_SAMPLERS.build(dict(inner), default_args={"sampler": sampler, "batch_size": batch_size})
        )

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[list[int]]:
        skipped, self.skipped = self.skipped, 0
        for number, batch in enumerate(self.inner):
            if number >= skipped:
                yield batch


class ReseededDataset(Dataset):
    """Another data set, whose samples depend on the seed and the draw, not on what was drawn before."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __deepcopy__(self, memo: object) -> ReseededDataset:
        return self  # mmengine copies a data loader's config before it builds it

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("dataset", "seed"):
            super().__setattr__(name, value)
        else:  # what hooks change, such as mmdet's PipelineSwitchHook, is the other data set's
            setattr(self.dataset, name, value)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, Draw):
            reseed(self.seed, _SAMPLE, index.epoch, index.number)
        return self.dataset[int(index)]


@FUNCTIONS.register_module()
def worker_init(worker_id: int, **options: Any) -> None:
    """mmengine's ``worker_init_fn``; and SIGTERM, which clusters send to all processes of a job, ends a worker only if
    it comes from the training process, so that this one can finish and save the iteration that is under way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches workers too: the training process ends them
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey_parent_alone, daemon=True).start()
    worker_init_fn(worker_id, **options)


def _obey_parent_alone() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def reproducible(loader: Mapping[str, Any], seed: int, diff_rank_seed: bool) -> dict[str, Any]:
    """A training data loader's config with its data set and sampler built, and made a function of the seed.

    Args:
        seed: the run's, the same in all processes.
        diff_rank_seed: as in mmengine's ``randomness``.
    """
    dataset = ALL_DATASETS.build(loader["dataset"])
    if hasattr(dataset, "full_init"):
        dataset.full_init()
    if isinstance(dataset, IterableDataset):
        return {**loader, "dataset": dataset}
    sampler = NumberedSampler(
        ALL_SAMPLERS.build(
            loader["sampler"], default_args={"dataset": dataset, "seed": None if diff_rank_seed else seed}
        )
    )
    config = {**loader, "dataset": ReseededDataset(dataset, seed), "sampler": sampler}
    inner = config.pop("batch_sampler", None)
    if inner is not None or not sampler.endless:  # what is endless mmengine itself can begin anywhere
        config["batch_sampler"] = {
            "type": "swinv2_dense.SkippingBatchSampler",
            "inner": inner,
            "drop_last": config.pop("drop_last", False),
        }
    return with_worker_init(config, seed)


def with_worker_init(loader: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """A data loader's config with :func:`worker_init`, unless it names another function for its workers."""
    config = dict(loader)
    if "worker_init_fn" not in config:
        config["worker_init_fn"] = {
            "type": "swinv2_dense.worker_init",
            "num_workers": config.get("num_workers", 0),
            "rank": get_dist_info()[0],
            "seed": seed,
            "disable_subprocess_warning": config.pop("disable_subprocess_warning", False),
        }
    return config


@HOOKS.register_module()
class RandomnessHook(Hook):
    """Sets the generators before every training iteration, and begins an epoch where a killed run left it."""

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Runner) -> None:
        loop = runner.train_loop
        batches = getattr(loop.dataloader, "batch_sampler", None)
        if isinstance(loop, EpochBasedTrainLoop) and isinstance(batches, SkippingBatchSampler):
            done = loop.iter - loop.epoch * len(loop.dataloader)
            batches.skipped = done if 0 < done < len(loop.dataloader) else 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        reseed(runner.seed, _ITERATION, runner.iter, get_dist_info()[0])

"""What makes a run survive being killed, for both of mmengine's runners."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmengine
from mmengine.config import ConfigDict
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, join_path
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, save_checkpoint
from mmengine.utils import apply_to

from swinv2_dense.engine.hooks.preemption_hook import PreemptionHook
from swinv2_dense.engine.hooks.randomness_hook import reproducible, with_worker_init
from swinv2_dense.engine.runner.log_writers import guard_log_writers
from swinv2_dense.engine.runner.resumed_settings import check_progress, differences, settings_of, table
from swinv2_dense.engine.runner.run_record import RunRecord, held, new_record, read_record, write_record
from swinv2_dense.engine.runner.training_state import (
    RUN_ID,
    candidates,
    check_whole,
    choose,
    newest_iteration,
    read_training_state,
    run_of_folder,
    write_training_state,
)
from swinv2_dense.errors import UserError

__all__ = ["ResumableMixin"]


class ResumableMixin:
    """To be put before mmengine's ``Runner`` or ``FlexibleRunner``.

    Among the default hooks are our ``SafeCheckpointHook`` in the place of mmengine's ``CheckpointHook``,
    ``RandomnessHook`` and ``PreemptionHook``. Checkpoints appear whole, and are written by all processes together, as
    sharded optimizers need. Resuming takes the latest checkpoint that is whole, and the run's seed with it.
    """

    _train_dataloader: Any
    _val_dataloader: Any
    _resume: Any
    _load_from: str | None
    run: RunRecord  # set when training begins
    starts_new_run = True
    _left_out_reported = False
    _saved_settings: Any = None

    def set_seed(self, seed: int) -> None:
        """Make ``seed`` the run's."""
        raise NotImplementedError

    def state_of_model(self) -> dict[str, Any]:
        """The whole model's state dict, in the first process. All take part."""
        raise NotImplementedError

    def state_of_optimizer(self) -> dict[str, Any]:
        """The whole optimizer's state dict, in the first process. All take part."""
        raise NotImplementedError

    def register_default_hooks(self, hooks: Mapping[str, Any] | None = None) -> None:
        chosen: dict[str, Any] = {
            "randomness": {"type": "swinv2_dense.RandomnessHook"},
            "preemption": {"type": "swinv2_dense.PreemptionHook"},
            "checkpoint": {"type": "CheckpointHook", "interval": 1},
            **(hooks or {}),
        }
        if isinstance(chosen["checkpoint"], dict) and chosen["checkpoint"].get("type") == "CheckpointHook":
            chosen["checkpoint"] = {**chosen["checkpoint"], "type": "swinv2_dense.SafeCheckpointHook"}
        ours = ("randomness", "preemption")  # mmengine takes None for its own defaults only
        super().register_default_hooks(  # type: ignore[misc]
            {name: hook for name, hook in chosen.items() if hook is not None or name not in ours}
        )

    def build_train_loop(self, loop: Any) -> Any:
        this: Any = self
        if not isinstance(loop, BaseLoop) and isinstance(self._train_dataloader, dict):
            self._train_dataloader = ConfigDict(
                reproducible(self._train_dataloader, this.seed, bool(this._randomness_cfg.get("diff_rank_seed")))
            )
        return super().build_train_loop(loop)  # type: ignore[misc]

    def build_val_loop(self, loop: Any) -> Any:
        this: Any = self
        if not isinstance(loop, BaseLoop) and isinstance(self._val_dataloader, dict):
            # workers that stay after a validation take part in what happens to the training
            self._val_dataloader = ConfigDict(with_worker_init(self._val_dataloader, this.seed))
        return super().build_val_loop(loop)  # type: ignore[misc]

    def train(self) -> Any:
        with ExitStack() as stack:
            self._begin(stack)
            return self._train()

    def _train(self) -> Any:
        this: Any = self
        guard_log_writers(this.visualizer, this.logger)
        preemption = next((hook for hook in this.hooks if isinstance(hook, PreemptionHook)), None)
        try:
            with nullcontext() if preemption is None else preemption.listening():
                return super().train()  # type: ignore[misc]
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(self._what_is_saved()) from error

    def _what_is_saved(self) -> str:
        this: Any = self
        saved = [getattr(hook, "last_ckpt", None) for hook in this.hooks]
        latest = next((path for path in saved if path and os.path.exists(path)), None)
        way = f"resume from {latest} by --resume" if latest else "there is no checkpoint yet"
        done = this.iter if hasattr(this.train_loop, "iter") else 0
        return f"training was interrupted after iteration {done}: {way}"

    def _begin(self, stack: ExitStack) -> None:
        """Which run this is, what to resume from, and its seed: found by the first process for all, before the data are
        shuffled. It holds the work dir until ``stack`` ends."""
        this: Any = self
        found: list[Any] = [None]
        if is_main_process():
            try:
                stack.enter_context(held(this.work_dir))
                found = [_Start.of(this.work_dir, bool(self._resume), self._load_from)]
            except UserError as error:
                found = [error]
        broadcast_object_list(found)
        if isinstance(found[0], UserError):
            raise found[0]
        start: _Start = found[0]
        self.run, self.starts_new_run = start.run, start.is_new
        if not self._resume:
            return
        self._load_from, seed, self._saved_settings = start.source, start.seed, start.settings
        self._resume = True
        configured = this._randomness_cfg.get("seed")
        if seed is not None and seed != configured:
            if configured is not None:
                this.logger.warning(
                    f"the run that is resumed had seed {seed}, which replaces randomness.seed={configured}"
                )
            self.set_seed(seed)

    def follows_config(self) -> bool:
        """Whether the run that is resumed had other settings, which are then shown; to be asked in all processes.

        Raises:
            UserError: another optimizer.
        """
        this: Any = self
        found = differences(self._saved_settings, settings_of(this))
        if found:
            this.logger.warning(table(found))
        return bool(found)

    def load_or_resume(self) -> None:
        this: Any = self
        super().load_or_resume()  # type: ignore[misc]
        if self._resume:
            by_epoch = isinstance(this.train_loop, EpochBasedTrainLoop)
            done, wanted = (this.epoch, this.max_epochs) if by_epoch else (this.iter, this.max_iters)
            check_progress(done, wanted, "epochs" if by_epoch else "iters")

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict[str, Any] | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        """mmengine's method, called in all processes. The file appears when it is whole.

        Raises:
            OSError: in the first process, if it cannot be written.
        """
        this: Any = self
        state: dict[str, Any] = {"meta": self._meta(meta or {}, by_epoch), "state_dict": self.state_of_model()}
        state["message_hub"] = _on_cpu(this.message_hub.state_dict())
        if save_optimizer:
            state["optimizer"] = self.state_of_optimizer()
        if save_param_scheduler and this.param_schedulers is not None:
            state["param_schedulers"] = _states(this.param_schedulers)
        if not is_main_process():
            return
        this.call_hook("before_save_checkpoint", checkpoint=state)
        state = {**state, **_on_cpu({key: state[key] for key in ("state_dict", "optimizer") if key in state})}
        path = join_path(out_dir, filename, backend_args=backend_args)
        if isinstance(get_file_backend(path, backend_args=backend_args), LocalBackend):
            left_out = write_training_state(path, state)
            if left_out and not self._left_out_reported:
                self._left_out_reported = True
                this.logger.warning(f"checkpoints hold data alone: {', '.join(left_out[:5])} left out")
        else:
            save_checkpoint(state, path, file_client_args=file_client_args, backend_args=backend_args)

    def _meta(self, given: dict[str, Any], by_epoch: bool) -> dict[str, Any]:
        """Counters of what is done; by epochs, a checkpoint is saved before the loop counts the epoch."""
        this: Any = self
        done = (
            {"epoch": this.epoch + 1, "iter": this.iter} if by_epoch else {"epoch": this.epoch, "iter": this.iter + 1}
        )
        return {
            **done,
            **given,
            "cfg": this.cfg.pretty_text,
            "seed": this.seed,
            RUN_ID: self.run.id,
            "settings": settings_of(this),
            "experiment_name": this.experiment_name,
            "time": time.strftime("%Y%m%d_%H%M%S", time.localtime()),
            "mmengine_version": mmengine.__version__,
            "dataset_meta": getattr(this.train_dataloader.dataset, "metainfo", None),
        }


@dataclass(frozen=True)
class _Start:
    """``source``: the checkpoint that is resumed from, an intact one, with its run's ``seed``. ``is_new``: whether the
    run leaves what is in the work dir to others."""

    run: RunRecord
    source: str | None = None
    seed: int | None = None
    is_new: bool = True
    settings: Any = None

    @classmethod
    def of(cls, work_dir: str, resume: bool, source: str | None) -> _Start:
        """Find out, and note it in the work dir."""
        if not resume:
            start = cls(new_record())
        elif source is None:
            start = cls._of_latest(work_dir)
        else:
            start = cls._of_named(work_dir, source)
        write_record(work_dir, start.run)
        return start

    @classmethod
    def _of_latest(cls, work_dir: str) -> _Start:
        path = choose(work_dir)
        meta = _about(path)
        record = read_record(work_dir)
        if record is None:
            record = new_record(str(path)) if meta.run is None else RunRecord(meta.run)
        return cls(record, str(path), meta.seed, is_new=False, settings=meta.settings)

    @classmethod
    def _of_named(cls, work_dir: str, source: str) -> _Start:
        """A checkpoint of this work dir's run, if it is its newest, continues it; any other begins a run of its own."""
        path = Path(source)
        if path.is_file():
            check_whole(path)
        meta = _about(path)
        record, is_new = read_record(work_dir), False
        if record is None and path.resolve() in [p.resolve() for p in candidates(work_dir)]:
            record = RunRecord(meta.run) if meta.run else new_record(source)
        elif record is None or meta.run != record.id or newest_iteration(work_dir, record.id) > meta.iteration:
            record, is_new = new_record(str(path.absolute())), True
        return cls(record, source, meta.seed, is_new, meta.settings)


@dataclass(frozen=True)
class _Meta:
    run: str | None
    seed: int | None = None
    iteration: int = 1 << 62
    settings: Any = None


def _about(path: Path) -> _Meta:
    """What a checkpoint says of its run. A folder of several processes' parts is read by the strategy that wrote it,
    and is taken for the newest."""
    if path.is_dir():
        return _Meta(run_of_folder(path))
    meta = read_training_state(str(path), mmap=True)["meta"]
    return _Meta(meta.get(RUN_ID), meta.get("seed"), meta.get("iter", 0), meta.get("settings"))


def _states(schedulers: Any) -> Any:
    if isinstance(schedulers, dict):
        return {name: _states(part) for name, part in schedulers.items()}
    return [scheduler.state_dict() for scheduler in schedulers]


def _on_cpu(state: Any) -> Any:
    if get_device() == "cpu":
        return state
    return apply_to(state, lambda value: hasattr(value, "cpu"), lambda value: value.cpu())

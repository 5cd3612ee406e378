"""What makes a run survive being killed, for both of mmengine's runners."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mmengine
from mmengine.config import ConfigDict
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, join_path
from mmengine.runner import BaseLoop, save_checkpoint
from mmengine.utils import apply_to

from swinv2_dense.engine.hooks.preemption_hook import PreemptionHook
from swinv2_dense.engine.hooks.randomness_hook import reproducible, with_reader_init
from swinv2_dense.engine.runner.training_state import check_whole, choose, read_training_state
from swinv2_dense.errors import UserError
from swinv2_dense.files import write_torch

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
            # readers that stay after a validation take part in what happens to the training
            self._val_dataloader = ConfigDict(with_reader_init(self._val_dataloader, this.seed))
        return super().build_val_loop(loop)  # type: ignore[misc]

    def train(self) -> Any:
        this: Any = self
        if self._resume:
            self._settle_resuming()
        preemption = next((hook for hook in this.hooks if isinstance(hook, PreemptionHook)), None)
        with nullcontext() if preemption is None else preemption.listening():
            return super().train()  # type: ignore[misc]

    def _settle_resuming(self) -> None:
        """What to resume from, and its seed: found by the first process for all, before the data are shuffled."""
        this: Any = self
        found: list[Any] = [None]
        if is_main_process():
            try:
                found = [_to_resume_from(self._load_from, this.work_dir)]
            except UserError as error:
                found = [error]
        broadcast_object_list(found)
        if isinstance(found[0], UserError):
            raise found[0]
        self._load_from, seed = found[0]
        self._resume = True
        configured = this._randomness_cfg.get("seed")
        if seed is not None and seed != configured:
            if configured is not None:
                this.logger.warning(
                    f"the run that is resumed had seed {seed}, which replaces randomness.seed={configured}"
                )
            self.set_seed(seed)

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
            write_torch(path, state)
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
            "experiment_name": this.experiment_name,
            "time": time.strftime("%Y%m%d_%H%M%S", time.localtime()),
            "mmengine_version": mmengine.__version__,
            "dataset_meta": getattr(this.train_dataloader.dataset, "metainfo", None),
        }


def _to_resume_from(source: str | None, work_dir: str) -> tuple[str, int | None]:
    """Path of a whole checkpoint and the seed of its run."""
    if source is None:
        source = str(choose(work_dir))
    elif Path(source).is_file():
        check_whole(source)
    if Path(source).is_dir():  # of several processes' parts, which the strategy that wrote them reads
        return source, None
    return source, read_training_state(source, mmap=True)["meta"].get("seed")


def _states(schedulers: Any) -> Any:
    if isinstance(schedulers, dict):
        return {name: _states(part) for name, part in schedulers.items()}
    return [scheduler.state_dict() for scheduler in schedulers]


def _on_cpu(state: Any) -> Any:
    if get_device() == "cpu":
        return state
    return apply_to(state, lambda value: hasattr(value, "cpu"), lambda value: value.cpu())

"""SIGTERM, which clusters send before they take a machine away: save, and say by the exit status that there is more."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, get_comm_device, get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from swinv2_dense.engine.hooks.checkpoint_hook import SafeCheckpointHook
from swinv2_dense.registry import HOOKS

__all__ = ["INTERRUPTED_STATUS", "PreemptionHook"]

INTERRUPTED_STATUS = 75  # EX_TEMPFAIL of sysexits.h: not finished, to be tried again


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM finishes the iteration, saves and exits with status 75; ``--resume`` continues as if nothing had
    happened.

    All processes of a run do so after the same iteration, as soon as one of them has had the signal. While gradients
    are being accumulated the step is finished first. In validation it is the state before it that is saved, and
    validation is not repeated. Further SIGTERMs do nothing.
    """

    priority = "LOWEST"  # after whatever else is saved

    _asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """SIGTERM is noticed meanwhile. Only Python's main thread can; in others it stays what it was."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._ask)
        try:
            yield
        finally:
            self._asked = False
            signal.signal(signal.SIGTERM, before)

    def _ask(self, *_: Any) -> None:
        self._asked = True

    def _agreed(self) -> bool:
        """Whether any process has been asked."""
        if get_world_size() == 1:
            return self._asked
        asked = torch.tensor(int(self._asked), device=get_comm_device())
        all_reduce(asked, op="max")
        return bool(asked)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        loop = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop) and (runner.iter + 1) % len(loop.dataloader) == 0:
            return  # the epoch is finished first
        done = runner.iter + 1
        if done % getattr(runner.optim_wrapper, "_accumulative_counts", 1) == 0 and self._agreed():
            self._leave(runner, runner.epoch, done)

    def after_train_epoch(self, runner: Runner) -> None:
        if isinstance(runner.train_loop, EpochBasedTrainLoop) and self._agreed():
            self._leave(runner, runner.epoch + 1, runner.iter)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        # where processes have as many batches each, which is mmengine's default, they can agree after every one
        if getattr(runner.val_dataloader.sampler, "round_up", True) and self._agreed():
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(runner)  # the trained weights are the model's again, not the averaged ones
            self._leave(runner, runner.epoch, runner.iter)

    def _leave(self, runner: Runner, epoch: int, iteration: int) -> None:
        keeper = next((hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)), None)
        if keeper is None:
            runner.logger.warning("SIGTERM: leaving without a checkpoint, as default_hooks.checkpoint is off")
        else:
            keeper.save_now(runner, epoch, iteration)
            barrier()  # the others would be taken for failed, and the one that writes be killed with them
            runner.logger.warning(f"SIGTERM: saved after iteration {iteration}, continue by --resume")
        raise SystemExit(INTERRUPTED_STATUS)

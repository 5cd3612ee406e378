"""Checkpoints that are there whole or not at all, and one of them at any moment."""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from swinv2_dense.engine.runner.run_record import LAST, set_aside
from swinv2_dense.engine.runner.training_state import RUN_ID
from swinv2_dense.errors import UserError
from swinv2_dense.files import remove, remove_left_over, unfinished, write_text
from swinv2_dense.registry import HOOKS

__all__ = ["SafeCheckpointHook"]

_INTERRUPTED = "interrupted.pth"
_OUTDATED = "outdated_ckpt_ids"  # saved with a checkpoint: what is to go now that it is there
_BEST_OF = "best_score_of"  # saved with a checkpoint: the metric of its best_score


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, with the same options, that loses nothing.

    The runner writes a checkpoint under another name, brings it to the disk, and renames it. Then ``last_checkpoint``
    is replaced in the same way, and only then do those beyond ``max_keep_ckpts`` go, or the best one before. A process
    killed at any of these steps leaves the checkpoint before it or the new one. Where the disk is full, training
    continues with the last complete checkpoint kept, and tries again at the next interval.

    What is not on a local disk (``out_dir`` with a scheme) is written as mmengine does.

    Raises:
        UserError: before training, there is no room for one checkpoint; or the last one could not be written.
    """

    last_ckpt: str | None

    _saved_iter = -1

    def before_train(self, runner: Runner) -> None:
        info = runner.message_hub.runtime_info
        kept, outdated = (_steps(info.get(key)) for key in ("keep_ckpt_ids", _OUTDATED))
        starts_new_run = getattr(runner, "starts_new_run", False)
        if starts_new_run:  # what the run that it was resumed from wrote stays
            kept, outdated = [], []
        surplus = kept[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        if "keep_ckpt_ids" in info:  # mmengine's hook would remove what it names, whatever that is
            runner.message_hub.update_info("keep_ckpt_ids", kept[len(surplus) :])
        for key in [key for key in info if key.startswith("best_ckpt") and not isinstance(info[key], str)]:
            runner.message_hub.update_info(key, None)
        super().before_train(runner)
        if not self._local or not is_main_process():
            return
        folder = Path(self.out_dir)
        folder.mkdir(parents=True, exist_ok=True)
        if starts_new_run:
            self._set_others_aside(runner, folder)
        remove_left_over(folder, older_than=0)
        for left in folder.glob(unfinished(folder / "*.pth").name):  # by several processes that were killed
            remove(left)
        for step in [*outdated, *surplus]:
            _remove_checkpoint(folder, self.filename_tmpl.format(step))
        if self.interval > 0 or self.save_last:
            self._check_room(runner, folder)

    @property
    def _local(self) -> bool:
        return isinstance(self.file_backend, LocalBackend)

    def _set_others_aside(self, runner: Runner, folder: Path) -> None:
        """Checkpoints of other runs would be overwritten one by one, or taken for this one's."""
        source = getattr(runner, "run", None) and runner.run.source
        for place in {folder.resolve(): folder, Path(runner.work_dir).resolve(): Path(runner.work_dir)}.values():
            if moved := set_aside(place, keep=source):
                aside, names = moved
                runner.logger.warning(
                    f"{place} holds {len(names)} checkpoints of another run, such as {names[0]}: moved to {aside}"
                )

    def _check_room(self, runner: Runner, folder: Path) -> None:
        needed, free = _checkpoint_bytes(runner, self.save_optimizer), shutil.disk_usage(folder).free
        if free < needed:
            raise UserError(
                f"work_dir {folder} has {free / 1e9:.2f} GB free, and a checkpoint of this model takes about "
                f"{needed / 1e9:.2f} GB: make room, or choose another by --work-dir"
            )

    def after_train(self, runner: Runner) -> None:
        """Save the last state of a training that a hook stopped early too: mmengine looks at the length alone."""
        stopped = getattr(runner.train_loop, "stop_training", False)
        if self.save_last and stopped and self._saved_iter != runner.iter:
            step = runner.epoch if self.by_epoch else runner.iter
            self._save_checkpoint_with_step(runner, step, {"epoch": runner.epoch, "iter": runner.iter})
        super().after_train(runner)

    def save_now(self, runner: Runner, epoch: int, iteration: int) -> None:
        """Save on SIGTERM, whatever the interval, unless this iteration is saved: ``epoch`` and ``iteration`` are done.

        Of a run that counts epochs it becomes ``interrupted.pth``, which goes when its next checkpoint is there.

        Raises:
            UserError: in all processes, it could not be written. Names the checkpoint to resume from.
        """
        if self._saved_iter == iteration:
            return
        meta = {"epoch": epoch, "iter": iteration}
        problem = self._write_step(runner, iteration, meta, interrupted=self.by_epoch)
        if problem:
            latest = self._latest(runner)
            way = f"resume from {latest} by --resume" if latest else "start from scratch, as there is no checkpoint yet"
            raise UserError(f"SIGTERM: {problem}: make room in {self.out_dir}, then {way}")

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        if not self._local:
            super()._save_checkpoint_with_step(runner, step, meta)
            self._saved_iter = meta["iter"]
            return
        problem = self._write_step(runner, step, meta)
        if not problem:
            return
        latest = self._latest(runner)
        problem += f"; {latest} is kept" if latest else "; there is no checkpoint yet"
        if meta["iter"] >= runner.max_iters:
            raise UserError(f"{problem}: make room in {self.out_dir}, then continue by --resume")
        runner.logger.error(f"{problem}, and training continues: make room in {self.out_dir}")

    def _write_step(self, runner: Runner, step: int, meta: dict[str, Any], interrupted: bool = False) -> str | None:
        """Returns in all processes what kept one of them from writing its part, or None."""
        name = _INTERRUPTED if interrupted else self.filename_tmpl.format(step)
        path = Path(self.out_dir, name)
        kept = list(getattr(self, "keep_ckpt_ids", ()))
        outdated: list[int] = []
        if self.max_keep_ckpts > 0 and not interrupted and step not in kept[-1:]:
            outdated = kept[: max(len(kept) + 1 - self.max_keep_ckpts, 0)]
            self._keep(runner, [*kept[len(outdated) :], step])
        before = self.last_ckpt
        runner.message_hub.update_info(_OUTDATED, outdated)
        self.last_ckpt = str(path)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        options = {"save_optimizer": self.save_optimizer, "save_param_scheduler": self.save_param_scheduler}
        problem = None
        try:
            # All processes take part, as the state may be spread over them; the first one's disk has the file.
            runner.save_checkpoint(self.out_dir, name, meta=meta, by_epoch=self.by_epoch, **options, **self.args)
            if is_main_process():
                write_text(Path(runner.work_dir, LAST), str(path))
        except OSError as error:
            problem = f"checkpoint {path} could not be written ({error.strerror or error})"
        problem = next(filter(None, all_gather_object(problem)), None)
        if problem:
            self.last_ckpt = before
            if self.max_keep_ckpts > 0:
                self._keep(runner, kept)
            return problem
        self._saved_iter = meta["iter"]
        if is_main_process():
            stale = [self.filename_tmpl.format(number) for number in outdated]
            for old in [*stale, *([] if interrupted else [_INTERRUPTED])]:
                _remove_checkpoint(Path(self.out_dir), old)
        return None

    def _latest(self, runner: Runner) -> str | None:
        return self.last_ckpt or (runner._load_from if runner._resume else None)

    def _keep(self, runner: Runner, steps: list[int]) -> None:
        self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
        runner.message_hub.update_info("keep_ckpt_ids", steps)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """As mmengine's, which removes the best checkpoint before it writes the better one: it sees no former."""
        if not self.save_best or not self._local:
            super()._save_best_checkpoint(runner, metrics)
            return
        self._forget_score_of_another(runner, self._scored(metrics))
        before = {key: path and self._in_this_folder(path) for key, path in self._best().items()}
        self._set_best(dict.fromkeys(before))
        try:
            super()._save_best_checkpoint(runner, metrics)
        except ValueError as error:
            if "auto" not in self.key_indicators:  # which has become the first metric, if it is known what is better
                raise
            raise UserError(f"default_hooks.checkpoint.rule: {error} Set it to 'greater' or 'less'") from error
        except OSError as error:
            self._set_best(before)
            runner.logger.error(f"the best checkpoint could not be written ({error.strerror or error})")
            return
        better = self._best()
        self._set_best({key: path or before.get(key) for key, path in better.items()})
        for key, path in before.items():
            if not (path and better.get(key) and path != better[key] and is_main_process()):
                continue
            if _is_best_of(Path(path), Path(self.out_dir)):
                remove(path)
                runner.logger.info(f"The previous best checkpoint {path} is removed")
            else:
                runner.logger.info(f"The previous best checkpoint {path} is another run's and stays")

    def _scored(self, metrics: dict[str, Any]) -> list[str]:
        """The metrics that the best checkpoints are chosen by.

        Raises:
            UserError: the validation does not give one of them.
        """
        if "auto" in self.key_indicators:
            return [next(iter(metrics))]
        for key in self.key_indicators:
            if key not in metrics:
                saved = f", and continue from {self.last_ckpt} by --resume" if self.last_ckpt else ""
                raise UserError(
                    f"default_hooks.checkpoint.save_best={key!r} is no metric of the validation, which gives "
                    f"{', '.join(metrics)}: correct it{saved}"
                )
        return self.key_indicators

    def _forget_score_of_another(self, runner: Runner, scored: list[str]) -> None:
        """mmengine keeps one best score, without the metric that it is of: a resumed run may look at another one."""
        if len(scored) > 1:
            return
        info = runner.message_hub.runtime_info
        if info.get(_BEST_OF, scored[0]) != scored[0]:
            (path,) = self._best().values()
            runner.logger.info(f"the best checkpoint is chosen by {scored[0]} from here on; {path} stays")
            info.pop("best_score", None)
            self._set_best({"": None})
        runner.message_hub.update_info(_BEST_OF, scored[0])

    def _in_this_folder(self, path: str) -> str:
        """The path of a best checkpoint in a work dir that was renamed since, or copied."""
        here = Path(self.out_dir, Path(path).name)
        return str(here) if not Path(path).exists() and here.is_file() else path

    def _best(self) -> dict[str, str | None]:
        """Path of the best checkpoint by metric."""
        return self.best_ckpt_path_dict if len(self.key_indicators) > 1 else {"": self.best_ckpt_path}

    def _set_best(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) > 1:
            self.best_ckpt_path_dict = dict(paths)
        else:
            self.best_ckpt_path = paths[""]


def _steps(saved: Any) -> list[int]:
    """Iterations or epochs as a checkpoint lists them. Whatever else it has there would become part of a path."""
    return [step for step in saved if type(step) is int and step >= 0] if isinstance(saved, (list, tuple)) else []


def _remove_checkpoint(folder: Path, name: str) -> None:
    """Remove a checkpoint directly in a folder: a file, or a folder of the parts that DeepSpeed's processes wrote."""
    path = folder / name
    if path.parent != folder:
        return
    if path.is_file() or (path.is_dir() and (path / RUN_ID).is_file()):
        remove(path)


def _is_best_of(path: Path, folder: Path) -> bool:
    """Whether it is a file as this hook writes the best weights to, directly in a folder."""
    named = path.name.startswith("best_") and path.suffix == ".pth"
    return named and path.is_file() and path.parent.resolve() == folder.resolve()


def _checkpoint_bytes(runner: Runner, with_optimizer: bool) -> int:
    """Size of a checkpoint: the weights, and what the optimizer will keep of every parameter that it trains."""
    needed = sum(tensor.numel() * tensor.element_size() for tensor in runner.model.state_dict().values())
    optimizer = getattr(runner.optim_wrapper, "optimizer", None)
    if with_optimizer and isinstance(optimizer, torch.optim.Optimizer):
        averages = 2 if "betas" in optimizer.defaults else int(bool(optimizer.defaults.get("momentum")))
        for group in optimizer.param_groups:
            needed += averages * sum(p.numel() * p.element_size() for p in group["params"])
    return needed

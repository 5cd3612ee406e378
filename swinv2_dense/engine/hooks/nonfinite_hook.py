"""A loss that is infinite or not a number: said once, kept to be looked into, and kept away from the weights."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import (
    all_gather_object,
    all_reduce,
    barrier,
    get_comm_device,
    get_rank,
    get_world_size,
    is_main_process,
)
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_map_only

from swinv2_dense.engine.hooks.batch_dump import from_plain, to_plain
from swinv2_dense.errors import UserError
from swinv2_dense.files import write_torch
from swinv2_dense.registry import HOOKS

__all__ = ["NonFiniteLossError", "NonFiniteLossHook", "read_dump", "replay"]

FOLDER = "nonfinite"


class NonFiniteLossError(UserError):
    """Training stopped because a loss was infinite or not a number. The weights are those before it."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Looks at every loss before its gradients are computed; gradients that overflow are the loss scaler's affair.

    Where one process's loss is not finite, all processes do the same, in the same iteration: one line reports
    iteration, losses and files, that process writes ``nonfinite/iter_N_rank_R.pth`` into the work dir
    (:func:`read_dump`, :func:`replay`), and training stops with :class:`NonFiniteLossError`, or continues without this
    update.

    Args:
        action: 'stop' or 'skip'. Skipped are gradients and update, and what batch norm saw of the batch; learning rate
            and counters continue.
        max_skips: stop at the next one after so many in a run.
        save_weights: when stopping, write the weights too, as ``nonfinite/iter_N.pth``.

    Raises:
        UserError: another action; or 'skip' with DeepSpeed, which cannot take a backward pass back.
    """

    priority = "LOWEST"  # what was drawn before an iteration is known when all others have set their seeds

    def __init__(self, action: str = "stop", max_skips: int = 10, save_weights: bool = True) -> None:
        if action not in ("stop", "skip"):
            raise UserError(f"NonFiniteLossHook: action={action!r} must be 'stop' or 'skip'")
        self.action, self.max_skips, self.save_weights = action, max_skips, save_weights
        self.skipped = 0
        self._losses: dict[str, Any] = {}
        self._statistics: list[tuple[Tensor, Tensor]] = []

    def before_train(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        if self.action == "skip" and "DeepSpeed" in type(wrapper).__name__:
            raise UserError("NonFiniteLossHook: action='skip' does not work with DeepSpeed: use 'stop'")
        self._forward = _innermost(runner.model).register_forward_hook(self._see_losses)
        update = wrapper.update_params

        def update_if_finite(loss: Tensor, *args: Any, **kwargs: Any) -> None:
            if not self._leaves_out(runner, loss):
                update(loss, *args, **kwargs)

        # The one place between loss and gradients that all of mmengine's model wrappers and strategies pass.
        wrapper.update_params = update_if_finite

    def after_train(self, runner: Runner) -> None:
        self._forward.remove()
        del runner.optim_wrapper.update_params

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._batch, self._drawn = data_batch, _generators()
        if self.action == "skip":
            self._statistics = [(buffer, buffer.clone()) for buffer in _statistics(runner.model)]

    def _see_losses(self, _model: nn.Module, _inputs: Any, outputs: Any) -> None:
        if isinstance(outputs, dict):
            self._losses = tree_map_only(Tensor, Tensor.detach, outputs)

    def _leaves_out(self, runner: Runner, loss: Tensor) -> bool:
        """Whether the update is skipped; raises where training is to stop."""
        finite = bool(loss.detach().isfinite().all())
        finite_everywhere = finite
        if get_world_size() > 1:
            flag = torch.tensor(int(finite), device=get_comm_device())
            all_reduce(flag, op="min")
            finite_everywhere = bool(flag)
        if finite_everywhere:
            return False
        stops = self.action == "stop" or self.skipped >= self.max_skips
        line = self._report(runner, finite)
        if stops:
            weights = self._save_weights(runner)
            barrier()  # a process that leaves has the others killed, also one that still writes
            if not is_main_process():
                raise SystemExit(1)
            limit = f" after {self.skipped} that were skipped" if self.skipped else ""
            raise NonFiniteLossError(f"{line}{weights}: training stops{limit}")
        self.skipped += 1
        runner.logger.warning(f"{line}: update skipped, {self.skipped} of at most {self.max_skips}")
        # Every process takes part in the reduction that its forward pass has promised.
        runner.optim_wrapper.backward(loss)
        runner.optim_wrapper.zero_grad()
        with torch.no_grad():
            for buffer, before in self._statistics:
                buffer.copy_(before)
        return True

    def _report(self, runner: Runner, finite: bool) -> str:
        """Write this process's dump, if its loss is the one; what happened, over all processes."""
        losses = _numbers(self._losses)
        report = None
        if not finite:
            files = _files(self._batch)
            path = Path(runner.work_dir, FOLDER, f"iter_{runner.iter + 1}_rank_{get_rank()}.pth")
            content = {
                "iteration": runner.iter + 1,
                "epoch": runner.epoch + 1,
                "seed": runner.seed,
                "rank": get_rank(),
                "losses": losses,
                "files": files,
                "generators": self._drawn,
                "batch": to_plain(self._batch),
            }
            values = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
            report = f"{values}; files {', '.join(files) or 'without names'}; {_write(path, content)}"
        reports = all_gather_object(report) if get_world_size() > 1 else [report]
        return f"loss not finite in iteration {runner.iter + 1}: {'; '.join(filter(None, reports))}"

    def _save_weights(self, runner: Runner) -> str:
        if not self.save_weights:
            return ""
        name = f"iter_{runner.iter + 1}.pth"
        folder = Path(runner.work_dir, FOLDER)
        try:
            runner.save_checkpoint(str(folder), name, save_optimizer=False, save_param_scheduler=False, by_epoch=False)
        except OSError as error:
            return f", weights could not be written ({error.strerror})"
        return f", weights {folder / name}"


def _innermost(model: Any) -> nn.Module:
    while isinstance(getattr(model, "module", None), nn.Module):
        model = model.module
    return model


def _statistics(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, _NormBase) and module.track_running_stats:
            yield from module.buffers(recurse=False)


def _numbers(losses: dict[str, Any]) -> dict[str, float]:
    """What mmengine's ``parse_losses`` adds up: means of tensors, and sums of these of lists."""
    found = {}
    for name, value in losses.items():
        if "loss" in name:
            parts = value if isinstance(value, (list, tuple)) else [value]
            found[name] = float(sum(part.float().mean() for part in parts))
    return found


def _files(batch: Any) -> list[str]:
    samples = batch.get("data_samples") if isinstance(batch, dict) else None
    found = []
    for sample in samples if isinstance(samples, (list, tuple)) else []:
        metainfo = getattr(sample, "metainfo", {})
        found += [str(metainfo[key]) for key in ("img_path", "filename") if metainfo.get(key)][:1]
    return found


def _generators() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002  the one that transforms draw from
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": (name, torch.from_numpy(np.array(keys, dtype=np.int64)), *rest),
        "python": random.getstate(),
    }


def _set_generators(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(state["python"])


def _write(path: Path, content: dict[str, Any]) -> str:
    """Write a dump as a whole or not at all; says which."""
    try:
        write_torch(path, content)
    except OSError as error:
        return f"no dump, {path} could not be written ({error.strerror or error})"
    return f"dump {path}"


def read_dump(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the hook wrote: ``iteration``, ``epoch``, ``seed``, ``rank``, ``losses``, ``files``, the states of the
    random ``generators`` and the ``batch`` as it came from the data loader.

    Raises:
        UserError: the file is missing, truncated or another one.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, IndexError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is no dump of a loss that was not finite, or truncated") from error
    if not isinstance(content, dict) or not {"batch", "generators", "losses"} <= set(content):
        raise UserError(f"{path} is no dump of a loss that was not finite")
    content["batch"] = from_plain(content["batch"])
    return content


def replay(path: str | os.PathLike[str], model: Any, optim_wrapper: OptimWrapper | None = None) -> dict[str, float]:
    """Compute the losses of a dump again, with the random numbers of that iteration.

    Args:
        model: with the weights that the hook saved.
        optim_wrapper: whose precision the losses are computed in; None for float32.
    """
    content = read_dump(path)
    model.train()
    _set_generators(content["generators"])
    with optim_wrapper.optim_context(model) if optim_wrapper else nullcontext():
        losses = model(**model.data_preprocessor(content["batch"], True), mode="loss")
    return _numbers(tree_map_only(Tensor, Tensor.detach, losses))

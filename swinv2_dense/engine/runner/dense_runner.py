"""mmengine's runner, with all weights read by our own loader, and several processes also on CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner, get_state_dict
from torch import nn

from swinv2_dense.checkpoint import check_complete, load_pretrained
from swinv2_dense.engine.runner.checked_images import CheckedImagesMixin
from swinv2_dense.engine.runner.resumable import ResumableMixin
from swinv2_dense.engine.runner.resumed_settings import following_config, loading_state
from swinv2_dense.engine.runner.training_state import read_training_state

__all__ = ["DenseRunner", "OwnWeightsMixin", "counting_steps", "join_on_cpu"]


class OwnWeightsMixin:
    """To be put before mmengine's ``Runner`` or ``FlexibleRunner``: all weights are read by our own loader.

    ``load_from`` takes whatever :func:`swinv2_dense.checkpoint.load_pretrained` takes, a classification checkpoint
    included. What is resumed from or tested must be complete: no parameter stays as it was initialised. Pickles are
    read with ``weights_only=True`` and nothing else, where mmengine's own loader may fall back to running their code.
    """

    _resume: Any
    _testing = False

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = False, revise_keys: Any = None
    ) -> dict[str, Any]:
        """Load weights into the model; the arguments are those of mmengine's method.

        Raises:
            UserError: as ``load_pretrained``; or, with ``strict``, in resuming and in testing, the checkpoint lacks
                parameters of the model.
        """
        this: Any = self
        model = this.model.module if is_model_wrapper(this.model) else this.model
        model = model.module if isinstance(model, BaseTTAModel) else model
        # mmengine's EMAHook takes the averaged weights from what it is given. Resuming, it puts the trained ones in
        # their place, before they are loaded; otherwise it needs what was loaded, under the model's own names.
        if self._resume:
            state = read_training_state(filename, map_location, mmap=torch.cuda.is_available())
            this.call_hook("after_load_checkpoint", checkpoint=state)
            report = load_pretrained(model, state)
        else:
            report = load_pretrained(model, filename)
            state = {"state_dict": model.state_dict(), "meta": {}}
            this.call_hook("after_load_checkpoint", checkpoint=state)
        if strict or self._resume or self._testing:
            check_complete(model, set(report.loaded), filename)
        this._has_loaded = True
        return state


class DenseRunner(ResumableMixin, OwnWeightsMixin, CheckedImagesMixin, Runner):
    """mmengine's runner, with weights read by our loader, runs that survive being killed, sharded optimizers saved
    whole, and ``--launcher pytorch`` also without GPUs."""

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        join_on_cpu(self.launcher, env_cfg["dist_cfg"])
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """mmengine's, which names a GPU to DistributedDataParallel; on CPUs it gets none."""
        if self.distributed and not torch.cuda.is_available():
            unused = self.cfg.get("find_unused_parameters", False)
            defaults = {"find_unused_parameters": unused, "broadcast_buffers": False, "device_ids": None}
            model_wrapper_cfg = {**defaults, **(model_wrapper_cfg or {})}
        return super().wrap_model(model_wrapper_cfg, model)

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: Mapping[str, Any] | None = None) -> None:
        super().scale_lr(optim_wrapper, counting_steps(auto_scale_lr, self.cfg))

    def set_seed(self, seed: int) -> None:
        self._randomness_cfg["seed"] = seed
        self.set_randomness(**self._randomness_cfg)

    def state_of_model(self) -> dict[str, Any]:
        return get_state_dict(self.model)

    def state_of_optimizer(self) -> dict[str, Any]:
        return self.optim_wrapper.state_dict()

    def resume(self, filename: str, *args: Any, map_location: Any = "cpu", **options: Any) -> None:
        """mmengine's, which puts weights and optimizer on the device a second time while it reads them."""
        follows_config = self.follows_config()
        options |= {"resume_param_scheduler": not follows_config}
        with following_config(self) if follows_config else nullcontext(), loading_state(filename):
            super().resume(filename, *args, map_location=map_location, **options)

    def test(self) -> dict[str, float]:
        self._testing = True
        return super().test()


def counting_steps(auto_scale_lr: Mapping[str, Any] | None, cfg: Mapping[str, Any]) -> dict[str, Any] | None:
    """``auto_scale_lr`` as mmengine needs it, which compares its base with the batch of one pass, also where the
    gradients of several make a step."""
    if auto_scale_lr is None or "base_batch_size" not in auto_scale_lr:
        return None if auto_scale_lr is None else dict(auto_scale_lr)
    passes = (cfg.get("optim_wrapper") or {}).get("accumulative_counts", 1)
    return {**auto_scale_lr, "base_batch_size": auto_scale_lr["base_batch_size"] / passes}


def join_on_cpu(launcher: str, dist_cfg: Mapping[str, Any]) -> None:
    """Let the processes meet where there is no GPU, which mmengine asks for even where they communicate over gloo."""
    if launcher == "pytorch" and not (torch.cuda.is_available() or torch.distributed.is_initialized()):
        torch.distributed.init_process_group(**dist_cfg)

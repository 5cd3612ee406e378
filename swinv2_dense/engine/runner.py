"""mmengine's runner, with all weights read by our own loader, and several processes also on CPUs."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner, get_state_dict
from torch import nn

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.engine.lasting import LastingMixin
from swinv2_dense.engine.saved import read_training_state
from swinv2_dense.errors import UserError

__all__ = ["DenseRunner"]


class DenseRunner(LastingMixin, Runner):
    """mmengine's runner, except for how weights are loaded (and that ``--launcher pytorch`` works without GPUs), and
    that a run which is killed can go on as if it had not been (:class:`LastingMixin`).

    ``load_from`` takes whatever :func:`swinv2_dense.checkpoint.load_pretrained` takes, a classification checkpoint
    included. What is resumed from or tested must be complete: no parameter stays as it was initialised. Pickles are
    read with ``weights_only=True`` and nothing else, where mmengine's own loader may fall back to running their code.
    """

    _testing = False

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """mmengine's, which asks for a GPU even where the processes talk over gloo: on CPUs they are joined here."""
        if self.launcher == "pytorch" and not torch.cuda.is_available():
            torch.distributed.init_process_group(**env_cfg["dist_cfg"])
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """mmengine's, which names a GPU to DistributedDataParallel; on CPUs it gets none."""
        if self.distributed and not torch.cuda.is_available():
            unused = self.cfg.get("find_unused_parameters", False)
            model_wrapper_cfg = {"find_unused_parameters": unused, "device_ids": None, **(model_wrapper_cfg or {})}
        return super().wrap_model(model_wrapper_cfg, model)

    def set_seed(self, seed: int) -> None:
        self._randomness_cfg["seed"] = seed
        self.set_randomness(**self._randomness_cfg)

    def state_of_model(self) -> dict[str, Any]:
        return get_state_dict(self.model)

    def state_of_optimizer(self) -> dict[str, Any]:
        return self.optim_wrapper.state_dict()

    def resume(self, filename: str, *args: Any, map_location: Any = "cpu", **options: Any) -> None:
        """mmengine's, which puts weights and optimizer on the device a second time while it reads them."""
        super().resume(filename, *args, map_location=map_location, **options)

    def test(self) -> dict[str, float]:
        self._testing = True
        return super().test()

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = False, revise_keys: Any = None
    ) -> dict[str, Any]:
        """Load weights into the model; the arguments are those of mmengine's method.

        Raises:
            UserError: as ``load_pretrained``; or, with ``strict``, in resuming and in testing, the checkpoint lacks
                parameters of the model.
        """
        model = self.model.module if is_model_wrapper(self.model) else self.model
        model = model.module if isinstance(model, BaseTTAModel) else model
        # mmengine's EMAHook takes the averaged weights from what it is given. Resuming, it puts the trained ones in
        # their place, before they are loaded; otherwise it needs what was loaded, under the model's own names.
        if self._resume:
            state = read_training_state(filename, map_location, mmap=torch.cuda.is_available())
            self.call_hook("after_load_checkpoint", checkpoint=state)
            report = load_pretrained(model, state)
        else:
            report = load_pretrained(model, filename)
            state = {"state_dict": model.state_dict(), "meta": {}}
            self.call_hook("after_load_checkpoint", checkpoint=state)
        if strict or self._resume or self._testing:
            _check_complete(model, set(report.loaded), filename)
        self._has_loaded = True
        return state


def _check_complete(model: nn.Module, loaded: set[str], source: str) -> None:
    missing = [name for name, _ in model.named_parameters() if not {name, name.removeprefix("backbone.")} & loaded]
    if missing:
        raise UserError(
            f"checkpoint {source} lacks {len(missing)} parameters of this model, or has them in another shape, "
            f"the first is {missing[0]}: it was trained with another config; give this one's"
        )

"""mmengine's runner, with all weights read by our own loader, and several processes also on CPUs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.errors import UserError

__all__ = ["DenseRunner", "read_training_state"]


class DenseRunner(Runner):
    """mmengine's runner, except for how weights are loaded (and that ``--launcher pytorch`` works without GPUs).

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
            state = read_training_state(filename, map_location)
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


def read_training_state(path: str, map_location: Any = "cpu") -> dict[str, Any]:
    """What mmengine saved in training: weights, optimizer, schedules, counters and log.

    Raises:
        UserError: not such a file, truncated, or with code in it (which is not run).
    """
    try:
        with torch.serialization.safe_globals(_types_in_training_state()):
            state = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"cannot resume from {path}: it holds more than training saves, perhaps code (not run)"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot resume from {path}: it is truncated, or no PyTorch checkpoint") from error
    if not isinstance(state, dict) or not {"state_dict", "optimizer", "message_hub", "meta"} <= set(state):
        raise UserError(f"cannot resume from {path}: it holds weights alone; start from them by load_from={path}")
    return state


def _types_in_training_state() -> list[Callable | tuple[Callable, str]]:
    """What mmengine's log pickles: NumPy numbers, and its own buffer with references to its methods."""
    reconstruct, scalar = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    numpy_functions = [
        (function, f"numpy.{core}.multiarray.{name}")
        for function, name in ((reconstruct, "_reconstruct"), (scalar, "scalar"))
        for core in ("core", "_core")  # before NumPy 2, and since
    ]
    dtypes = [type(np.dtype(kind)) for kind in ("bool", "int32", "int64", "uint32", "float32", "float64")]
    return [HistoryBuffer, (_history_method, "builtins.getattr"), np.ndarray, np.dtype, *dtypes, *numpy_functions]


def _history_method(owner: Any, name: str) -> Any:
    """``getattr`` for the one thing that mmengine's buffer needs it for, and for nothing that a pickle may want."""
    if owner is not HistoryBuffer or name.startswith("_"):
        raise pickle.UnpicklingError(f"the pickle asks for {name} of {owner}")
    return getattr(owner, name)

"""Mixed precision where there is no GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from swinv2_dense.registry import OPTIM_WRAPPERS

__all__ = ["BackboneAmpOptimWrapper"]


@OPTIM_WRAPPERS.register_module()
class BackboneAmpOptimWrapper(OptimWrapper):
    """bfloat16 in the backbone, float32 in everything else.

    mmengine's ``AmpOptimWrapper`` refuses to run without a GPU, and mmcv's operators (RoIAlign, NMS) know no bfloat16.
    The backbone is where the time goes, so it alone runs under autocast, and its features leave it as float32. bfloat16
    has float32's range: no loss scaling.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        backbone: Any = getattr(model, "module", model).backbone
        stack = ExitStack()

        def enter(*_: Any) -> None:
            stack.enter_context(torch.autocast(next(backbone.parameters()).device.type, dtype=torch.bfloat16))

        def leave(_module: nn.Module, _inputs: Any, outputs: Any) -> Any:
            stack.close()
            if isinstance(outputs, Tensor):
                return outputs.float()
            return type(outputs)(feature.float() for feature in outputs)

        hooks = [backbone.register_forward_pre_hook(enter), backbone.register_forward_hook(leave)]
        try:
            with super().optim_context(model), stack:
                yield
        finally:
            for hook in hooks:
                hook.remove()

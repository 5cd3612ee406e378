"""Mixed precision where there is no GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from swinv2_dense.errors import UserError
from swinv2_dense.registry import OPTIM_WRAPPERS

__all__ = ["BackboneAmpOptimWrapper", "autocast_backbone", "backbone_in", "float_type"]


@OPTIM_WRAPPERS.register_module()
class BackboneAmpOptimWrapper(OptimWrapper):
    """bfloat16 in the backbone, float32 in everything else.

    mmengine's ``AmpOptimWrapper`` refuses to run without a GPU, and mmcv's operators (RoIAlign, NMS) know no bfloat16.
    The backbone is where the time goes, so it alone runs under autocast, and its features leave it as float32. bfloat16
    has float32's range: no loss scaling.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), backbone_in(model, torch.bfloat16):
            yield


def autocast_backbone(model: nn.Module, dtype: torch.dtype) -> tuple[list[RemovableHandle], ExitStack]:
    """Have ``model.backbone`` compute in ``dtype`` and give float32. Returns the hooks that do it, and what ends an
    autocast that a forward pass left open by an error."""
    backbone: Any = model.backbone
    entered = ExitStack()

    def enter(*_: Any) -> None:
        entered.enter_context(torch.autocast(next(backbone.parameters()).device.type, dtype=dtype))

    def leave(_module: nn.Module, _inputs: Any, outputs: Any) -> Any:
        entered.close()
        if isinstance(outputs, Tensor):
            return outputs.float()
        return type(outputs)(feature.float() for feature in outputs)

    return [backbone.register_forward_pre_hook(enter), backbone.register_forward_hook(leave)], entered


@contextmanager
def backbone_in(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """In this context ``model.backbone`` computes in ``dtype`` and gives float32; of a wrapper, its module's."""
    while not hasattr(model, "backbone"):
        model = model.get_submodule("module")
    hooks, entered = autocast_backbone(model, dtype)
    try:
        with entered:
            yield
    finally:
        for hook in hooks:
            hook.remove()


def float_type(name: str | None) -> torch.dtype | None:
    """The dtype of a strategy's ``mixed_precision``.

    Raises:
        UserError: it names none.
    """
    dtype = None if name is None else getattr(torch, name, None)
    if name is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise UserError(f"strategy.mixed_precision={name!r} is no floating-point dtype: try 'bfloat16'")
    return dtype

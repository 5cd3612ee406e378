"""DeepSpeed's ZeRO for models on a SwinV2 backbone. DeepSpeed itself is an extra, and imported by mmengine if there."""

from __future__ import annotations

from typing import Any

import torch
from mmengine._strategy import DeepSpeedStrategy
from mmengine._strategy.deepspeed import DeepSpeedOptimWrapper
from mmengine.dist import is_main_process
from mmengine.model import convert_sync_batchnorm
from torch import nn

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.engine.optimizers.amp import autocast_backbone, float_type
from swinv2_dense.registry import OPTIM_WRAPPERS, STRATEGIES

__all__ = ["DeepSpeedZeroStrategy", "ZeroOptimWrapper"]


@STRATEGIES.register_module()
class DeepSpeedZeroStrategy(DeepSpeedStrategy):
    """mmengine's ``DeepSpeedStrategy``, which starts from ``load_from`` before DeepSpeed takes its own float32 copy of
    the weights, and computes the backbone in another precision than the heads, whose operators know no bfloat16.

    Args:
        mixed_precision: dtype, such as 'bfloat16', of the backbone's computations; None for float32 everywhere.
        sync_bn: 'torch' or 'mmcv' for batch norm over all processes by its implementation; None leaves each its own.
    """

    load_from: str | None = None

    def __init__(self, *, mixed_precision: str | None = None, sync_bn: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.sync_bn = sync_bn
        self.dtype = float_type(mixed_precision)

    def _init_model_weights(self, model: nn.Module) -> nn.Module:
        model = super()._init_model_weights(model)
        if self.sync_bn is not None:
            model = convert_sync_batchnorm(model, self.sync_bn)
        if self.load_from is not None:
            load_pretrained(model, self.load_from)
        if self.dtype is not None:
            autocast_backbone(model, self.dtype)
        return model

    def weights(self) -> dict[str, Any]:
        """The whole model's state dict, in the first process. All take part."""
        if self.model.zero_optimization_partition_weights():
            state = self.model._zero3_consolidated_16bit_state_dict()
        else:
            state = self.model.module_state_dict()
        return state if is_main_process() else {}


@OPTIM_WRAPPERS.register_module()
class ZeroOptimWrapper(DeepSpeedOptimWrapper):
    """mmengine's, for weights in float32: stages 1 and 2 gather the new ones into views of what autograd knows."""

    def step(self, **options: Any) -> None:
        with torch.no_grad():
            super().step(**options)

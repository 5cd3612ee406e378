"""ZeRO stage 1: every process keeps the optimizer's states of its share of the parameters alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine._strategy import DDPStrategy
from mmengine.config import ConfigDict
from torch import nn

from swinv2_dense.registry import STRATEGIES

__all__ = ["ZeroRedundancyStrategy", "shard_optimizer"]

_SHARDED = "ZeroRedundancyOptimizer"


@STRATEGIES.register_module()
class ZeroRedundancyStrategy(DDPStrategy):
    """mmengine's ``DDPStrategy`` with its ``ZeroRedundancyOptimizer`` around the config's optimizer (section 3.5).

    Training from our configs takes the ordinary runner for it, which does the same; this is for mmengine's
    ``FlexibleRunner``.
    """

    def build_optim_wrapper(self, optim_wrapper: Any, model: nn.Module | None = None) -> Any:
        if isinstance(optim_wrapper, dict):
            optim_wrapper = {**optim_wrapper, "optimizer": shard_optimizer(optim_wrapper["optimizer"])}
        return super().build_optim_wrapper(optim_wrapper, model)


def shard_optimizer(optimizer: Mapping[str, Any]) -> ConfigDict:
    """The config of an optimizer with mmengine's ``ZeroRedundancyOptimizer`` around it, once."""
    if optimizer["type"] == _SHARDED:
        return ConfigDict(optimizer)
    return ConfigDict({**optimizer, "type": _SHARDED, "optimizer_type": optimizer["type"]})

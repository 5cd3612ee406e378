"""FSDP for models on a SwinV2 backbone, and with it no process ever holds the whole model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_main_process
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from mmengine.utils import apply_to
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.modules.module import register_module_module_registration_hook

from swinv2_dense.engine.optimizers.amp import autocast_backbone, float_type
from swinv2_dense.errors import UserError
from swinv2_dense.layers import SwinBlock
from swinv2_dense.models.swin_v2 import init_linear
from swinv2_dense.registry import STRATEGIES

__all__ = ["FullyShardedStrategy", "blocks_on_meta", "materialise", "whole"]


@STRATEGIES.register_module()
class FullyShardedStrategy(FSDPStrategy):
    """mmengine's ``FSDPStrategy`` by torch's ``fully_shard``: weights, gradients and optimizer states are spread over
    all processes, and a block's weights are together only while it computes.

    The backbone's blocks, and with them nearly all of a large model, are built without storage, then given values and
    sharded one after another. Weights from a checkpoint are read by every process for its own share of them. Names,
    shapes and groups of parameters are those of the model on one device, and so are the checkpoints.

    Args:
        mixed_precision: dtype, such as 'bfloat16', in which the backbone's blocks are gathered and compute; the weights
            that the optimizer keeps, the reduction of gradients and what is not the backbone stay float32. None for
            float32 everywhere.
        reshard_after_forward: free a block's gathered weights after its forward and gather them again for its backward
            (ZeRO-3); False keeps them in between (ZeRO-2).
    """

    def __init__(
        self,
        *,
        mixed_precision: str | None = None,
        reshard_after_forward: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(state_dict_cfg="full", **options)
        self.dtype = float_type(mixed_precision)
        self.reshard_after_forward = reshard_after_forward

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        if isinstance(model, nn.Module):
            return model
        with blocks_on_meta():
            return MODELS.build(model)

    def _init_model_weights(self, model: nn.Module) -> nn.Module:
        return model  # together with the sharding

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if self.activation_checkpointing is not None:
            raise UserError("strategy.activation_checkpointing: set model.backbone.with_cp=True instead")
        model = self.convert_model(model)
        device = get_device()
        for module in model.modules():
            if isinstance(module, BaseDataPreprocessor):
                module.to(device)
        mesh = init_device_mesh(device, (get_world_size(),))
        options: dict[str, Any] = {"mesh": mesh, "reshard_after_forward": self.reshard_after_forward}
        # The residual stream is left as it is: autocast casts what enters a matrix product.
        policy = MixedPrecisionPolicy(
            param_dtype=self.dtype, reduce_dtype=torch.float32 if self.dtype else None, cast_forward_inputs=False
        )
        for block in [module for module in model.modules() if isinstance(module, SwinBlock)]:
            materialise(block)
            fully_shard(block, mp_policy=policy, **options)
        for module in model.modules():
            module.register_load_state_dict_pre_hook(_take_share)
        for part in model.children():  # not the whole at once: mmengine's keeps a mean of every parameter meanwhile
            if hasattr(part, "init_weights"):
                cast(Any, part).init_weights()
        fully_shard(model, **options)
        if self.dtype is not None:
            autocast_backbone(model, self.dtype)  # in validation too, as the gathered weights have this dtype
        return model.to(device)

    def build_optim_wrapper(self, optim_wrapper: Any, model: nn.Module | None = None) -> Any:
        if not isinstance(optim_wrapper, dict):
            raise UserError("FSDP makes the optimizer of its own shards: give optim_wrapper as a config")
        if optim_wrapper.get("type") == "AmpOptimWrapper":
            optim_wrapper = dict(optim_wrapper, use_fsdp=False)  # whose scaler is for the older kind of shards
        return super().build_optim_wrapper(optim_wrapper, model)

    def model_state_dict(self) -> dict[str, Tensor]:
        return whole(self.model.state_dict())

    def optim_state_dict(self) -> dict[str, Any]:
        return whole(self.optim_wrapper.state_dict())

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take this process's share of an optimizer's state dict from one device."""
        params = [p for group in self.optim_wrapper.param_groups for p in group["params"]]
        state = {
            index: {key: _share(value, params[index]) for key, value in states.items()}
            for index, states in state_dict["state"].items()
        }
        self.optim_wrapper.load_state_dict({**state_dict, "state": state})


@contextmanager
def blocks_on_meta() -> Iterator[None]:
    """SwinV2 blocks that are built meanwhile have shapes but no storage; :func:`materialise` gives it to them."""

    def strip(_parent: nn.Module, _name: str, module: nn.Module) -> None:
        if isinstance(module, SwinBlock):
            for part in module.modules():
                if hasattr(part, "reset_parameters"):
                    part.to("meta")

    hook = register_module_module_registration_hook(strip)
    try:
        yield
    finally:
        hook.remove()


def materialise(block: SwinBlock) -> None:
    """Give a block its storage and the values that training from scratch begins with."""
    for part in block.modules():
        if any(p.is_meta for p in part.parameters(recurse=False)):
            part.to_empty(device="cpu", recurse=False)
            cast(Any, part).reset_parameters()
            init_linear(part)
    block.reset_branches()


def whole(state: Any) -> Any:
    """A state dict of shards, gathered one after another, in the first process's memory; elsewhere it is empty."""
    gathered = apply_to(state, lambda value: isinstance(value, DTensor), _gather)
    return gathered if is_main_process() else {}


def _gather(tensor: DTensor) -> Tensor | None:
    full = tensor.full_tensor()
    return full.cpu() if is_main_process() else None


def _share(value: Any, like: Tensor | None) -> Any:
    """This process's part of a whole tensor, if ``like`` is sharded. No other process takes part."""
    if not (isinstance(like, DTensor) and isinstance(value, Tensor)) or isinstance(value, DTensor):
        return value
    if value.shape != like.shape:  # an optimizer's counter, or weights that do not fit, which loading reports
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _take_share(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, param in module.named_parameters(recurse=False):
        if prefix + name in state_dict:
            state_dict[prefix + name] = _share(state_dict[prefix + name], param)

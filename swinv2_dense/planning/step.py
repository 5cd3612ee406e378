"""One training step of a config without numbers: how much it holds, and how much it computes."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from swinv2_dense.layers import SwinBlock, WindowAttention
from swinv2_dense.models.swin_v2 import input_channels
from swinv2_dense.planning.decoders import has_decoder, known_shapes
from swinv2_dense.planning.gpu_emulation import GPUEmulation, backward
from swinv2_dense.planning.memory_tracker import MemoryTracker, Moment
from swinv2_dense.planning.training_forward import training_outputs

__all__ = ["PRECISIONS", "Step", "build", "measure", "objective"]

# 'amp': products in half precision by autocast; 'backbone': in the backbone alone (DeepSpeed); 'blocks': besides, the
# weights of its blocks are in half precision (FSDP). Weights are float32 otherwise.
PRECISIONS = ("fp32", "amp", "backbone", "blocks")


class _Operations(TorchDispatchMode):
    """Counts as torch's FlopCounterMode does, without its tracking of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out


@dataclass(frozen=True)
class Step:
    """What one step holds besides the weights, the worst :class:`Moment` of every state of the gradients; and its
    floating-point operations, in matrix products and convolutions, a multiply-add being two."""

    moments: Collection[Moment]
    flops: int

    def peak(self, gradients: float = 1.0) -> Moment:
        """The moment with most bytes, where of a gradient only the share ``gradients`` is kept."""
        return max(self.moments, key=lambda m: m.activations + gradients * m.gradients)


def build(cfg: Config, *, with_cp: bool | None = None) -> nn.Module:
    """The config's model on the meta device, in training; ``with_cp`` overrides the backbone's."""
    init_default_scope(cfg.get("default_scope") or "mmengine")
    model_cfg = deepcopy(cfg.model)
    if with_cp is not None:
        model_cfg.backbone.with_cp = with_cp
    with torch.device("meta"):
        # moved there besides: torch's oldest constructor, which some heads use, knows no default device
        return MODELS.build(model_cfg).to("meta").train()


def measure(model: nn.Module, size: tuple[int, ...], *, batch: int, precision: str, device: str) -> Step:
    """Run one step on a batch of images (H, W) or clips (T, H, W) and see what it holds.

    Args:
        model: on the meta device; it is changed.
        device: 'cuda' for what a GPU does, 'cpu' for this package's own way of attention on CPUs, in fp32 alone.
    """
    outputs = training_outputs(model, batch)
    with ExitStack() as stack:
        gpu = None
        if device == "cpu":
            stack.enter_context(FakeTensorMode())
            model._apply(lambda t: torch.empty(t.shape, dtype=t.dtype))
        else:
            backbone: Any = getattr(model, "backbone", None) if precision in ("backbone", "blocks") else None
            if precision == "blocks":
                for module in model.modules():
                    if isinstance(module, SwinBlock):
                        module.to(torch.bfloat16)
            autocast = None if precision == "fp32" else torch.bfloat16
            if has_decoder(model):
                stack.enter_context(known_shapes())
            gpu = stack.enter_context(GPUEmulation(autocast, within=backbone))
        live = stack.enter_context(MemoryTracker(model, (WindowAttention,)))
        x = torch.empty(batch, input_channels(model), *size, device="cpu" if device == "cpu" else "meta")
        operations = stack.enter_context(_Operations())
        loss = objective(outputs(x))
        if gpu is not None:
            gpu.end_forward()
        backward(loss)
    return Step(tuple(live.moments), operations.flops)


def objective(outputs: list[Tensor]) -> Tensor:
    """A number that depends on every output, and keeps as much for its gradient as a loss does."""
    return torch.stack([out.float().square().mean() for out in outputs]).sum()

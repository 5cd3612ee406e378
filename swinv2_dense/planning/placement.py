"""Who keeps what of weights, gradients and optimizer when a model is trained on several devices (section 3.5: ZeRO).

P parameters, T of them trained, N devices. The figures follow torch's DistributedDataParallel, ZeroRedundancyOptimizer
and FullyShardedDataParallel, and DeepSpeed's ZeRO, with the options of ``configs/_base_/strategies``.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from swinv2_dense.layers import SwinBlock
from swinv2_dense.planning.memory_tracker import MemoryTracker

__all__ = ["STRATEGIES", "Placement", "Weights", "place", "weigh"]

# The precisions that each can train in, see PRECISIONS in step.py.
STRATEGIES: dict[str, tuple[str, ...]] = {
    "ddp": ("fp32", "amp"),
    "zero1": ("fp32", "amp"),
    "fsdp": ("fp32", "blocks"),
    "deepspeed_zero1": ("fp32", "backbone"),
    "deepspeed_zero2": ("fp32", "backbone"),
    "deepspeed_zero3": ("fp32", "backbone"),
}
_FP32 = 4
# DeepSpeed's own values where its config leaves them open.
_DEEPSPEED_BUCKET, _DEEPSPEED_LIVE = 500_000_000, 1_000_000_000


@dataclass(frozen=True)
class Weights:
    """Numbers of parameters: all, those trained, the largest block's and those outside of blocks; and bytes that the
    config's optimizer keeps of the trained ones, and needs besides in an update."""

    parameters: int
    trained: int
    largest_block: int
    outside_blocks: int
    optimizer: int
    update: int


@dataclass(frozen=True)
class Placement:
    """Bytes on one device. ``gradients`` is what it keeps once all are there, ``at_once`` whether they take that place
    from the beginning; ``buffers`` is what it sends and receives, ``update`` what the optimizer needs in its step."""

    weights: float
    gradients: float
    optimizer: float
    update: float
    buffers: float = 0.0
    at_once: bool = False


def weigh(model: nn.Module, cfg: Config) -> Weights:
    """Count a model on the meta device, and run one step of the config's optimizer on it."""
    blocks = [sum(p.numel() for p in m.parameters()) for m in model.modules() if isinstance(m, SwinBlock)]
    parameters = sum(p.numel() for p in model.parameters())
    trained = [p for p in model.parameters() if p.requires_grad]
    wrapper_cfg = deepcopy(cfg.optim_wrapper)
    wrapper_cfg.type = "OptimWrapper"
    wrapper_cfg.pop("dtype", None)
    wrapper_cfg.pop("loss_scale", None)
    optimizer = build_optim_wrapper(model, wrapper_cfg).optimizer
    for group in optimizer.param_groups:
        group["foreach"] = True  # as torch chooses on a GPU
    for p in trained:
        p.grad = torch.empty_like(p)
    with MemoryTracker(model) as live:
        optimizer.step()
    kept = [t for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor)]
    state, peak = sum(t.numel() * t.element_size() for t in kept), max(m.activations for m in live.moments)
    for p in trained:
        p.grad = None
    return Weights(
        parameters, sum(p.numel() for p in trained), max(blocks), parameters - sum(blocks), state, peak - state
    )


def place(
    strategy: str, precision: str, weights: Weights, devices: int, options: Mapping[str, Any] | None = None
) -> Placement:
    """What one of ``devices`` keeps.

    Args:
        options: the strategy's config, for ``gradient_as_bucket_view`` and DeepSpeed's ``zero_optimization``.
    """
    options, share = options or {}, 1 / devices
    everything, trained, state = weights.parameters, weights.trained, weights.optimizer
    if strategy in ("ddp", "zero1"):
        # Reduced in buckets, of which the gradients are views, or copies.
        wrapper = options.get("strategy", {}).get("model_wrapper", {})
        views = devices > 1 and wrapper.get("gradient_as_bucket_view", False)
        held = 1.0 if strategy == "ddp" else share
        return Placement(
            weights=_FP32 * everything,
            gradients=_FP32 * trained,
            optimizer=state * held,
            update=weights.update * held,
            buffers=0 if views or devices == 1 else _FP32 * trained,
            at_once=views,
        )
    if strategy == "fsdp":
        block, outside = weights.largest_block, weights.outside_blocks
        size = 2 if precision == "blocks" else _FP32
        # Of blocks the present and the next one are gathered, each from what was received, and the gradients of one are
        # sent in float32. What stands outside of blocks stays gathered, with gradients, which are sent as one.
        buffers = 4 * size * block + (size + _FP32) * block + 3 * _FP32 * outside
        return Placement(
            weights=_FP32 * everything * share,
            gradients=_FP32 * trained * share,
            optimizer=state * share,
            update=weights.update * share,
            buffers=buffers if devices > 1 else 0,
        )
    zero = options.get("strategy", {}).get("zero_optimization", {})
    stage = int(strategy.removeprefix("deepspeed_zero"))
    bucket = min(zero.get("reduce_bucket_size", _DEEPSPEED_BUCKET), trained)
    buffers = _FP32 * bucket * (2 if zero.get("overlap_comm", stage == 3) else 1)
    if stage == 3:
        buffers += _FP32 * min(zero.get("stage3_max_live_parameters", _DEEPSPEED_LIVE), everything)
    return Placement(
        weights=_FP32 * everything * (share if stage == 3 else 1),
        gradients=_FP32 * trained * (1 if stage == 1 else share),
        optimizer=(state + _FP32 * trained) * share,  # and its own copy of the weights
        update=(weights.update + _FP32 * trained) * share,  # and of the gradients
        buffers=buffers,
    )

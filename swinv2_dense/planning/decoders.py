"""Transformer decoders on the meta device: shapes of feature maps are tensors there, and their values are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["decoder_outputs", "has_decoder", "known_shapes"]


def has_decoder(model: Any) -> bool:
    """Whether it is one of mmdet's DETR family or MaskFormer family, or mmseg's of the latter."""
    return hasattr(model, "decoder") or _mask_head(model) is not None


def _mask_head(model: Any) -> Any:
    for name in ("panoptic_head", "decode_head"):
        head = getattr(model, name, None)
        if hasattr(head, "transformer_decoder"):
            return head
    return None


def decoder_outputs(model: Any, x: Tensor) -> Any:
    """What the decoder gives for B x 3 x H x W. Queries of DINO's denoising, which training adds, are left out."""
    from mmdet.structures import DetDataSample

    shape = tuple(x.shape[2:])
    sample = DetDataSample(metainfo=dict.fromkeys(("batch_input_shape", "img_shape", "pad_shape", "ori_shape"), shape))
    samples = [sample] * len(x)
    head = _mask_head(model)
    if head is not None:
        return head(model.extract_feat(x), samples)
    training, model.training = model.training, False  # of the detector alone, not of its parts
    try:
        return model._forward(x, samples)
    finally:
        model.training = training


class _Known(TorchDispatchMode):
    """What is computed from tensors with numbers alone has numbers too, also where the meta device is asked for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(t.is_meta for t in tensors):
            args, kwargs = tree_map_only(Tensor, lambda t: t.to("meta") if t.ndim else t, (args, kwargs))
        elif tensors and kwargs.get("device") == torch.device("meta"):
            kwargs["device"] = torch.device("cpu")
        return func(*args, **kwargs)


class _Sampled(torch.autograd.Function):
    """mmcv's deformable attention as far as memory goes: nothing of what it samples is kept."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(value, locations, weights)
        batch, _, heads, channels = value.shape
        return value.new_empty(batch, locations.shape[1], heads * channels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.zeros_like(t) for t in ctx.saved_tensors)


@contextmanager
def known_shapes() -> Iterator[None]:
    """Lets decoders of models on the meta device run while the block lasts."""
    from mmcv.ops import multi_scale_deform_attn

    def sampled(value: Tensor, _shapes: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return _Sampled.apply(value, locations, weights)

    fast, options = torch.backends.mha.get_fastpath_enabled(), torch.fx.experimental._config
    with ExitStack() as stack:
        _replace(stack, multi_scale_deform_attn, "multi_scale_deformable_attn_pytorch", sampled)
        # Masks that hide everything are looked for: all of them are, as far as memory goes.
        _replace(stack, options, "meta_nonzero_assume_all_nonzero", True)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)  # a single operation, whose memory is unknown
        stack.enter_context(_Known())
        yield


def _replace(stack: ExitStack, owner: Any, name: str, value: Any) -> None:
    """Set an attribute until ``stack`` is closed."""
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)

"""How modules are called, and when something faster may stand in for them and for torch's operators."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.modules.module import _has_any_global_hook

__all__ = ["call_with", "inside_a_mode", "is_transformed", "is_untouched", "version", "wants_gradients"]


def is_untouched(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module does what its class does: it is of no subclass, and nothing is hooked to it or patched."""
    return type(module) is kind and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
        or _has_any_global_hook()
    )


def is_transformed(*tensors: Tensor | None) -> bool:
    """Whether more is known of a tensor than its numbers: a transform of ``torch.func`` acts on it (vmap, grad, jvp),
    or it has a tangent (forward-mode AD). An operator that reads memory would drop that."""
    return any(
        not has_memory(t) or forward_ad.unpack_dual(t).tangent is not None
        for t in tensors
        if t is not None and (type(t) is Tensor or type(t) is nn.Parameter)
    )


def has_memory(x: Tensor) -> bool:
    try:
        x.data_ptr()
    except RuntimeError:  # the public way to see the wrappers of torch.func, whose type is Tensor
        return False
    return True


def version(x: Tensor) -> int:
    """A number that grows whenever a tensor is written to, but by way of its ``data``."""
    return 0 if x.is_inference() else x._version


def wants_gradients() -> bool:
    """Whether to compute so that gradients take less time or memory. ``torch.jit.trace`` compares what it records with
    a run without gradients, and saves torch's own operators alone."""
    return torch.is_grad_enabled() and not torch.jit.is_tracing()


def inside_a_mode() -> bool:
    """Whether tensors made now are of a mode or a transform alone (fake tensors, ``torch.func``), not to be kept."""
    probe = torch.empty(0, device="cpu")
    return type(probe) is not Tensor or not has_memory(probe) or torch._is_functional_tensor(probe)


# functional_call swaps a module's parameters for the time of the call, which another thread would see
_SWAPPING = threading.RLock()


def call_with(module: nn.Module, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """``module(x)`` with other parameters than its own, its hooks included."""
    with _SWAPPING:
        return cast(Tensor, functional_call(module, dict(parameters), (x,)))

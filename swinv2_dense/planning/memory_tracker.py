"""Which tensors are alive, counted storage by storage while a training step runs.

Works on real tensors and on tensors without numbers, torch's fake and meta ones: what a step holds is then found by
running the step itself, without its memory and its arithmetic.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["MemoryTracker", "Moment"]


@dataclass(frozen=True)
class Moment:
    """Bytes alive at one time. ``gradients`` are those of parameters; ``activations`` everything else but the weights,
    ``attention`` being what modules of attention made of it."""

    activations: int = 0
    attention: int = 0
    gradients: int = 0


@dataclass(frozen=True)
class _Storage:
    size: int
    attention: bool
    reference: Any


class MemoryTracker(TorchDispatchMode):
    """Counts what operations allocate from when the mode is entered until it is left.

    Weights, and whatever else is alive before, are not counted. Invisible is what a kernel allocates inside itself.

    Args:
        model: its parameters' gradients are counted apart from activations.
        attention: types of module; what they make, forwards and backwards, is counted apart.
    """

    def __init__(self, model: nn.Module, attention: tuple[type[nn.Module], ...] = ()) -> None:
        super().__init__()
        self._model, self._types = model, attention
        self._alive: dict[int, _Storage] = {}
        self._not_counted = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
        self._activations = self._attention = self._gradients = 0
        self._attentions_entered = 0
        self._handles: list[Any] = []
        # Gradients only become more. Of every number of bytes of theirs the worst moment is kept: which of them is the
        # worst of all depends on how much of each gradient a process keeps.
        self._worst: dict[int, Moment] = {}

    def __enter__(self) -> MemoryTracker:
        for p in self._model.parameters():
            if p.requires_grad:
                self._handles.append(p.register_post_accumulate_grad_hook(self._becomes_gradient))
        for module in self._model.modules():
            if isinstance(module, self._types):
                self._handles.append(module.register_forward_pre_hook(self._enter_attention))
                self._handles.append(module.register_forward_hook(self._leave_attention))
                if any(p.requires_grad for p in module.parameters()):
                    self._handles.append(module.register_full_backward_pre_hook(self._enter_attention))
                    self._handles.append(module.register_full_backward_hook(self._leave_attention))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()

    @property
    def moments(self) -> Collection[Moment]:
        """The worst moment of every number of gradients that were there."""
        return self._worst.values()

    @property
    def now(self) -> Moment:
        return Moment(self._activations, self._attention, self._gradients)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in (out,) if isinstance(out, Tensor) else tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive or key in self._not_counted:
            return
        made_by_attention = self._attentions_entered > 0
        reference = weakref.ref(storage, lambda _: self._free(key))
        self._alive[key] = _Storage(storage.nbytes(), made_by_attention, reference)
        self._activations += storage.nbytes()
        self._attention += storage.nbytes() * made_by_attention
        self._note()

    def _free(self, key: int) -> None:
        storage = self._alive.pop(key, None)
        if storage is not None:
            self._activations -= storage.size
            self._attention -= storage.size * storage.attention

    def _becomes_gradient(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        storage = parameter.grad.untyped_storage()
        if storage._cdata not in self._not_counted:
            self._free(storage._cdata)
            self._not_counted.add(storage._cdata)
            self._gradients += storage.nbytes()
            self._note()

    def _note(self) -> None:
        worst = self._worst.get(self._gradients)
        if worst is None or self._activations > worst.activations:
            self._worst[self._gradients] = self.now

    def _enter_attention(self, *_: Any) -> None:
        self._attentions_entered += 1

    def _leave_attention(self, *_: Any) -> None:
        self._attentions_entered -= 1

"""Learning rate and weight decay of every parameter of a model on a SwinV2 backbone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from swinv2_dense.errors import UserError
from swinv2_dense.registry import OPTIM_WRAPPER_CONSTRUCTORS
from swinv2_dense.suggestions import did_you_mean

__all__ = ["LayerDecayOptimWrapperConstructor", "layer_of", "without_decay"]

_PREFIX = "backbone."


def layer_of(name: str, depths: tuple[int, ...]) -> int:
    """Layer of a parameter of the backbone, named as in the backbone.

    The patch embedding and SimMIM's mask token are layer 0; the k-th block of the whole backbone, counted from 0, is
    layer k + 1. What stands between two stages goes with the stage that it ends: ``downsample`` and the output norm of
    stage s belong to the layer of the stage's last block.
    """
    part, *rest = name.split(".")
    if part in ("patch_embed", "mask_token"):
        return 0
    stage = int(rest[0]) if part == "layers" else int(part.removeprefix("norm"))
    is_block = part == "layers" and rest[1] == "blocks"
    block = int(rest[2]) if is_block else depths[stage] - 1
    return sum(depths[:stage]) + block + 1


def without_decay(name: str, param: nn.Parameter) -> bool:
    """Whether a parameter is left out of weight decay.

    So are norms and biases (q_bias and v_bias among them: whatever has one axis), the attention temperature
    ``logit_scale``, SimMIM's mask token, and the network ``cpb_mlp`` that makes the position biases.
    """
    return param.ndim <= 1 or name.endswith(("logit_scale", "mask_token")) or ".cpb_mlp." in name


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise learning rates, and weight decay only where it belongs.

    A parameter in layer i of a backbone of N blocks learns with ``lr * backbone_lr_mult * decay_rate ** (N + 1 - i)``
    (layers: :func:`layer_of`); everything that is not the backbone learns with ``lr``. What takes part in no weight
    decay: :func:`without_decay`. N is counted from the model.

    Options in ``paramwise_cfg``: ``decay_rate`` (1.0, the paper's ADE20K ablation has 0.95) and ``backbone_lr_mult``
    (1.0, the paper's COCO recipe has 0.1).

    Raises:
        UserError: an unknown option, an optimizer without lr or weight_decay, or a model whose ``backbone`` is not a
            SwinV2 of ours.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        defaults = {"decay_rate": 1.0, "backbone_lr_mult": 1.0}
        for key in paramwise_cfg or {}:
            if key not in defaults:
                raise UserError(f"optim_wrapper.paramwise_cfg has no option {key!r}: {did_you_mean(key, defaults)}")
        super().__init__(optim_wrapper_cfg, {**defaults, **(paramwise_cfg or {})})
        if self.base_lr is None or self.base_wd is None:
            raise UserError("optim_wrapper.optimizer needs lr and weight_decay for LayerDecayOptimWrapperConstructor")

    def add_params(self, params: list[dict], module: nn.Module, *_: Any, **__: Any) -> None:
        """Append the groups of the whole model, one per pair of learning rate and weight decay."""
        groups: dict[tuple[float, float], dict] = {}
        for name, param, lr in self._learning_rates(module):
            weight_decay = 0.0 if without_decay(name, param) else self.base_wd
            group = groups.setdefault((lr, weight_decay), {"params": [], "lr": lr, "weight_decay": weight_decay})
            group["params"].append(param)
        params.extend(groups.values())
        rates = sorted(lr for lr, _ in groups)
        print_log(f"optimizer: {len(groups)} groups, learning rates {rates[0]:.3g} to {rates[-1]:.3g}", "current")

    def _learning_rates(self, model: nn.Module) -> Iterator[tuple[str, nn.Parameter, float]]:
        depths = getattr(getattr(model, "backbone", None), "depths", None)
        if depths is None:
            raise UserError(
                f"LayerDecayOptimWrapperConstructor found no SwinV2 at the backbone of {type(model).__name__}: use "
                "model.backbone.type='swinv2_dense.SwinTransformerV2', or another optim_wrapper.constructor"
            )
        top = sum(depths) + 1
        for name, param in model.named_parameters():
            if not param.requires_grad:
                continue
            scale = 1.0
            if name.startswith(_PREFIX):
                layer = layer_of(name.removeprefix(_PREFIX), tuple(depths))
                scale = self.paramwise_cfg["backbone_lr_mult"] * self.paramwise_cfg["decay_rate"] ** (top - layer)
            yield name, param, self.base_lr * scale

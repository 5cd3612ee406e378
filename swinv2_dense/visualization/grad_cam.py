"""Grad-CAM (Selvaraju et al., arXiv 1610.02391): which tokens of a stage's map speak for a class.

Equations 1 and 2 of the paper: a channel weighs as much as the gradient of the class's logit with respect to it,
averaged over the map; what is drawn is the weighted sum of the channels where that is positive. The logit is the mean
over the places of :func:`~swinv2_dense.visualization.answers.choose`: for segmentation the pixels of the class (Seg-
Grad-CAM, arXiv 2002.11434), for detection its boxes.

The package ``grad-cam`` is on PyPI as source alone (wheels end with 1.0.0), and the tested set has wheels only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.inference.model_loading import LoadedModel
from swinv2_dense.models import SwinTransformerV2
from swinv2_dense.visualization.answers import answers, choose

__all__ = ["Explanation", "backbone_of", "grad_cam", "seen_by"]


@dataclass(frozen=True)
class Explanation:
    """What speaks for a class, as :func:`grad_cam` finds it.

    ``cams``: stage -> float32, tokens of its map along each axis, from 0 on, not scaled. ``label``, ``reason``: the
    class, and what the model says of it. ``sizes``: tokens of every stage's map. ``boxes``: N x 4, x1 y1 x2 y2 in
    pixels of the input: those that counted. ``region``: bool, h x w over the image: the pixels that counted.
    """

    cams: dict[int, np.ndarray]
    label: int
    reason: str
    sizes: tuple[tuple[int, ...], ...]
    boxes: np.ndarray | None = None
    region: np.ndarray | None = None


def backbone_of(loaded: LoadedModel) -> SwinTransformerV2:
    """The SwinV2 of a model that knows classes.

    Raises:
        UserError: it has none, or knows no classes.
    """
    if loaded.task == "simmim":
        raise UserError("a model of SimMIM knows no classes to explain: train for a task with its weights first")
    backbone = getattr(loaded.model, "backbone", None)
    if not isinstance(backbone, SwinTransformerV2):
        raise UserError(f"explaining needs a SwinV2 backbone, and this model's is {type(backbone).__name__}")
    return backbone


def seen_by(loaded: LoadedModel, prepared: Any) -> np.ndarray:
    """What a model sees, without padding: uint8, RGB, H x W x 3, or T x H x W x 3 of a clip's middle view."""
    from swinv2_dense.visualization.image_names import displayed

    inputs = prepared["inputs"]
    if loaded.task == "video":
        return np.ascontiguousarray(np.asarray(inputs[len(inputs) // 2]).transpose(1, 2, 3, 0)).astype(np.uint8)
    return displayed(np.asarray(inputs).transpose(1, 2, 0)[..., 2::-1])


def grad_cam(
    loaded: LoadedModel, prepared: Any, stages: Sequence[int] | None = None, label: int | None = None
) -> Explanation:
    """Grad-CAM of one image, or of the middle view of one clip.

    The last stage's map is taken behind its norm, as heads take it; the others as the next stage takes them. Not for
    several threads at once.

    Args:
        loaded: a model in evaluation mode.
        prepared: what its pipeline makes of the image or clip.
        stages: from 0 on (default: all).
        label: index of a class (default: the likeliest, or that of the most pixels).

    Raises:
        UserError: no such stage or class, or a model of a kind that has no logits of boxes or pixels.
    """
    backbone = backbone_of(loaded)
    count = backbone.num_layers
    wanted = range(count) if stages is None else stages
    for stage in wanted:
        if stage not in range(count):
            raise UserError(f"there is no stage {stage}: this backbone has stages 0 to {count - 1}")
    if loaded.task == "video":
        middle = len(prepared["inputs"]) // 2
        prepared = {**prepared, "inputs": prepared["inputs"][middle : middle + 1]}
    model: Any = loaded.model
    with (
        torch.enable_grad(),
        DefaultScope.overwrite_default_scope(loaded.scope),
        _maps(backbone, min(wanted)) as maps,
    ):
        data = model.data_preprocessor(pseudo_collate([prepared]), False)
        found = answers(loaded, data["inputs"], data["data_samples"], prepared["inputs"].shape[-2:])
        chosen = choose(found, label)
        # nothing leads from a stage that no head takes: a gradient of zeros
        gradients = torch.autograd.grad(
            found.logits[chosen.rows, chosen.label].mean(),
            [maps[stage] for stage in wanted],
            allow_unused=True,
            materialize_grads=True,
        )
    cams = {
        stage: weighted_sum(maps[stage][0].detach(), gradient[0]).float().cpu().numpy()
        for stage, gradient in zip(wanted, gradients, strict=True)
    }
    boxes = None if found.boxes is None else found.boxes[chosen.rows, chosen.label].detach().cpu().numpy()
    region = None
    if found.size is not None:
        region = np.zeros(found.size, bool)
        region.flat[chosen.rows.cpu().numpy()] = True
    sizes = tuple(tuple(maps[stage].shape[1:-1]) for stage in range(count))
    return Explanation(cams, chosen.label, chosen.reason, sizes, boxes, region)


def weighted_sum(features: Tensor, gradient: Tensor) -> Tensor:
    """Of *size x C both: the channels by their mean gradients, where that is positive, *size."""
    return (features @ gradient.flatten(0, -2).mean(0)).relu()


@contextmanager
def _maps(backbone: SwinTransformerV2, first: int) -> Iterator[dict[int, Tensor]]:
    """Collects every stage's map, B x *size x C. Differentiation goes back to that of stage ``first``."""
    maps: dict[int, Tensor] = {}
    last = backbone.num_layers - 1

    def keep(stage: int, output: Tensor) -> Tensor:
        if stage == first:
            output = output.detach().requires_grad_()  # what led here is not kept
        maps[stage] = output
        return output

    with ExitStack() as stack:
        for stage in range(backbone.num_layers):
            behind_norm = stage == last and last in backbone.out_indices
            module = cast(nn.Module, getattr(backbone, f"norm{last}") if behind_norm else backbone.layers[stage])
            handle = module.register_forward_hook(lambda module, args, output, stage=stage: keep(stage, output))
            stack.callback(handle.remove)
        yield maps

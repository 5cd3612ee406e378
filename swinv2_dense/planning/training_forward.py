"""Runs the part of a config's model that does not depend on the content of the images, as a training step does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves

from swinv2_dense.errors import UserError
from swinv2_dense.planning.decoders import decoder_outputs, has_decoder

__all__ = ["input_size", "training_outputs"]

Outputs = Callable[[Tensor], list[Tensor]]


class _Pooled(torch.autograd.Function):
    """RoIAlign as far as memory goes: regions out of maps, and gradients of whole maps back."""

    @staticmethod
    def forward(ctx: Any, regions: int, channels: int, side: tuple[int, int], *maps: Tensor) -> Tensor:
        ctx.save_for_backward(*maps)
        return maps[0].new_empty(regions, channels, *side)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return None, None, None, *(torch.zeros_like(m) for m in ctx.saved_tensors)


class _RegionFeatures(nn.Module):
    """Stands for a RoI extractor, which sorts regions by their size: that depends on the image."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.num_inputs, self.channels = extractor.num_inputs, extractor.out_channels
        self.side = extractor.roi_layers[0].output_size

    def forward(self, maps: Any, regions: Tensor) -> Tensor:
        return _Pooled.apply(len(regions), self.channels, self.side, *maps)


def training_outputs(model: Any, batch: int) -> Outputs:
    """A function that takes the batch of images, B x 3 x H x W (clips: B x 3 x T x H x W), to what its losses take.

    Two-stage detectors: as many proposals and masks as their samplers draw at most. Losses, targets and what sorts
    boxes are left out. Transformer decoders need :func:`~swinv2_dense.planning.decoders.known_shapes`.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):  # in training they refuse a single value per channel
            module.eval()
    if has_decoder(model):
        return lambda x: _tensors(decoder_outputs(model, x))
    if hasattr(model, "rpn_head"):
        return _two_stage(model, batch)
    if hasattr(model, "decode_head"):
        return _segmentor(model)
    if hasattr(model, "cls_head"):
        return lambda x: _tensors(model(x[:, None], mode="tensor"))  # of every sample one clip
    return lambda x: _tensors(model(x, mode="tensor"))  # mmpretrain's


def _two_stage(model: Any, batch: int) -> Outputs:
    head = model.roi_head
    for name in ("bbox_roi_extractor", "mask_roi_extractor", "semantic_roi_extractor"):
        extractor = getattr(head, name, None)
        if isinstance(extractor, nn.ModuleList):
            setattr(head, name, nn.ModuleList(_RegionFeatures(e) for e in extractor))
        elif extractor is not None:
            setattr(head, name, _RegionFeatures(extractor))
    cascade = isinstance(head.bbox_head, nn.ModuleList)
    samplers = [cfg.sampler for cfg in (head.train_cfg if cascade else [head.train_cfg])]

    def outputs(x: Tensor) -> list[Tensor]:
        maps = model.extract_feat(x)
        found = _tensors(model.rpn_head(maps))
        semantic = []
        if getattr(head, "with_semantic", False):
            prediction, features = head.semantic_head(maps)
            found.append(prediction)
            semantic.append(features)
        for i, sampler in enumerate(samplers):
            stage = [i] if cascade else []
            proposals = x.new_empty(batch * sampler.num, 5)
            boxes = head._bbox_forward(*stage, maps, proposals, *semantic)
            found += [boxes["cls_score"], boxes["bbox_pred"]]
            if head.with_mask:
                positive = proposals[: batch * int(sampler.num * sampler.pos_fraction)]
                found.append(head._mask_forward(*stage, maps, positive, *semantic)["mask_preds"])
        return found

    return outputs


def _segmentor(model: Any) -> Outputs:
    heads = [model.decode_head, *([model.auxiliary_head] if model.with_auxiliary_head else [])]

    def outputs(x: Tensor) -> list[Tensor]:
        maps = model.extract_feat(x)
        found = []
        for head in heads:
            logits = F.interpolate(head(maps), x.shape[2:], mode="bilinear", align_corners=head.align_corners)
            found.append(F.cross_entropy(logits, x.new_empty(len(x), *x.shape[2:], dtype=torch.long), reduction="none"))
        return found

    return outputs


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def input_size(cfg: Config) -> tuple[int, ...]:
    """Size of one training image, (H, W), or clip, (T, H, W): where the config trains at several, the largest.

    Raises:
        UserError: the config does not say.
    """
    preprocessor = cfg.model.get("data_preprocessor", {})
    for step in preprocessor.get("batch_augments") or []:
        if "size" in step:
            return tuple(step["size"])
    if preprocessor.get("size"):
        return tuple(preprocessor["size"])
    # Not train_pipeline, a name of the config file's: what is trained on may have been changed since.
    dataset = (cfg.get("train_dataloader") or {}).get("dataset") or {"pipeline": cfg.get("train_pipeline") or []}
    divisor = preprocessor.get("pad_size_divisor", 1)
    found = [_size_of(pipeline, divisor) for pipeline in _pipelines(dataset)]
    sizes = [size for size in found if size is not None]
    if not sizes:
        raise UserError("the training pipeline does not say its size: add --size HEIGHT WIDTH (of clips FRAMES before)")
    return max(sizes, key=math.prod)


def _pipelines(dataset: Any) -> Iterator[Any]:
    """Of the data sets inside wrappers; of a wrapper that has one, its own, which comes last."""
    parts = dataset.get("datasets") or ([dataset["dataset"]] if "dataset" in dataset else [])
    if dataset.get("pipeline") or not parts:
        yield dataset.get("pipeline") or []
        return
    for part in parts:
        yield from _pipelines(part)


def _size_of(pipeline: Any, divisor: int) -> tuple[int, ...] | None:
    size = _last_size(pipeline)
    if size is None:
        return None
    sides = tuple(-(-side // divisor) * divisor for side in size)
    clip = [step for step in pipeline if "clip_len" in step]
    return (clip[0]["clip_len"], *sides) if clip else sides


def _last_size(pipeline: Any) -> tuple[int, int] | None:
    """(H, W) that a pipeline ends with; a Resize's scale is (W, H), and -1 an open side."""
    size = None
    for step in pipeline:
        if "transforms" in step:
            branches = [_last_size(branch) for branch in step["transforms"]]
            found = [branch for branch in branches if branch]
        elif "scale" in step or "scales" in step:
            scales = step["scales"] if "scales" in step else [step["scale"]]
            pairs = [(s, s) if isinstance(s, int) else s for s in scales]
            found = [(s[1], s[0]) for s in pairs if min(s) > 0]
        elif "crop_size" in step:
            crop = step["crop_size"]
            found = [(crop, crop) if isinstance(crop, int) else tuple(crop)]
        else:
            continue
        size = max(found, key=lambda s: s[0] * s[1], default=size)
    return size

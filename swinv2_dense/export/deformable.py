"""Multi-scale deformable attention (arXiv 2010.04159) for maps of any size, and the detectors and heads around it.

mmcv and mmdet keep the sizes of the levels in tensors and read them back as numbers, which a graph cannot. Here they
are the shapes of the maps. Samples are bilinear, by ``grid_sample``, as in mmcv's formula for CPUs; places and samples
are computed in float32, as float16 holds no position in a large image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from swinv2_dense.errors import UserError
from swinv2_dense.export.traceable import traceable

__all__ = ["Dino", "QueriesOf", "centres", "traceable_deformable"]

Shapes = Sequence[tuple[int, int]]


def _number(n: int, device: torch.device) -> Tensor:
    return torch.full((), n, dtype=torch.float32, device=device)


def centres(shapes: Shapes, device: torch.device) -> Tensor:
    """(x, y) of the tokens of all levels in sides of the map, T x 2."""
    found = []
    for height, width in shapes:
        y = (torch.arange(height, device=device) + 0.5) / _number(height, device)
        x = (torch.arange(width, device=device) + 0.5) / _number(width, device)
        found.append(torch.stack([x[None].expand(height, -1), y[:, None].expand(-1, width)], -1).flatten(0, 1))
    return torch.cat(found)


def _levels(tokens: Tensor, shapes: Shapes) -> list[Tensor]:
    """... x T -> a map for each level, ... x H x W."""
    found, first = [], 0
    for height, width in shapes:
        found.append(tokens[..., first : first + height * width].unflatten(-1, (height, width)))
        first = first + height * width
    return found


class TraceableDeformableAttention(nn.Module):
    """mmcv's ``MultiScaleDeformableAttention``, for ``spatial_shapes`` of plain (height, width)."""

    def __init__(self, attn: Any) -> None:
        super().__init__()
        if not attn.batch_first:
            raise UserError("a MultiScaleDeformableAttention with batch_first=False cannot be exported")
        self.heads, self.levels, self.points = attn.num_heads, attn.num_levels, attn.num_points
        self.sampling_offsets, self.attention_weights = attn.sampling_offsets, attn.attention_weights
        self.value_proj, self.output_proj = attn.value_proj, attn.output_proj

    def forward(
        self,
        query: Tensor,
        *,
        spatial_shapes: Shapes,
        reference_points: Tensor,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """B x Q x C -> the same. ``value``: B x T x C; ``reference_points``: B x Q x levels x 2 or 4, in sides."""
        value = query if value is None else value
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        values = self.value_proj(value).transpose(1, 2).unflatten(1, (self.heads, -1)).flatten(0, 1).float()
        offsets = self.sampling_offsets(query).unflatten(-1, (self.heads, self.levels, self.points, 2)).float()
        weights = self.attention_weights(query).unflatten(-1, (self.heads, -1)).float().softmax(-1)
        reference = reference_points[:, :, None, :, None].float()
        if reference.shape[-1] == 2:
            sides = [torch.stack([_number(n, query.device) for n in (w, h)]) for h, w in spatial_shapes]
            places = reference + offsets / torch.stack(sides)[:, None]
        else:
            places = reference[..., :2] + offsets / self.points * reference[..., 2:] * 0.5
        # B x Q x heads x levels x points x 2 -> levels x B heads x Q x points x 2
        grids = (2 * places - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)
        maps = _levels(values, spatial_shapes)
        sampled = [
            F.grid_sample(level, grid, align_corners=False) for level, grid in zip(maps, grids.unbind(0), strict=True)
        ]
        # B heads x C / heads x Q x levels points, summed
        out = (torch.cat(sampled, -1) * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
        out = out.unflatten(0, (-1, self.heads)).flatten(1, 2).transpose(1, 2)
        projected: Tensor = self.output_proj(out.to(query.dtype))
        return projected + identity


class TraceablePixelDecoder(nn.Module):
    """mmdet's ``MSDeformAttnPixelDecoder``: maps of the backbone -> one of mask features, and those to attend to."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        decoder, tokens, positions = self.decoder, [], []
        deep = [feats[decoder.num_input_levels - 1 - i] for i in range(decoder.num_encoder_levels)]
        shapes = [(level.shape[-2], level.shape[-1]) for level in deep]
        for i, level in enumerate(deep):
            tokens.append(decoder.input_convs[i](level).flatten(2).transpose(1, 2))
            # mmdet's own spelling
            position = decoder.postional_encoding(None, input=level[:1]).to(level.dtype)
            position = position + decoder.level_encoding.weight[i].view(1, -1, 1, 1)
            positions.append(position.flatten(2).transpose(1, 2))
        memory = decoder.encoder(
            query=torch.cat(tokens, 1),
            query_pos=torch.cat(positions, 1),
            key_padding_mask=None,
            spatial_shapes=shapes,
            level_start_index=None,
            valid_ratios=None,
            reference_points=centres(shapes, deep[0].device)[None, :, None].expand(-1, -1, len(shapes), -1),
        )
        outs = _levels(memory.transpose(1, 2), shapes)
        # on to finer maps, which the encoder does without
        for i in range(decoder.num_input_levels - decoder.num_encoder_levels - 1, -1, -1):
            lateral = decoder.lateral_convs[i](feats[i])
            coarse = F.interpolate(outs[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
            outs.append(decoder.output_convs[i](lateral + coarse))
        return decoder.mask_feature(outs[-1]), outs[: decoder.num_outs]


def traceable_deformable(model: nn.Module) -> Any:
    """:func:`traceable`, of a model with deformable attention too."""
    from mmcv.ops import MultiScaleDeformableAttention
    from mmdet.models.layers import MSDeformAttnPixelDecoder

    made = traceable(model)
    for kind, stand_in in (
        (MultiScaleDeformableAttention, TraceableDeformableAttention),
        (MSDeformAttnPixelDecoder, TraceablePixelDecoder),
    ):
        for name, module in list(made.named_modules()):
            if isinstance(module, kind):
                made.set_submodule(name, stand_in(module).eval())
    return made


class Dino(nn.Module):
    """mmdet's ``DINO`` for images without padding: B x 3 x H x W -> boxes B x K x 4 in pixels, scores and labels
    B x K, and the tokens that became queries, B x Q."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = traceable_deformable(model)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        model = self.model
        maps = model.extract_feat(images)
        shapes = [(level.shape[-2], level.shape[-1]) for level in maps]
        middle = centres(shapes, images.device)
        whole = images.new_ones(1, len(shapes), 2)  # share of each level that is no padding
        memory = self._memory(maps, shapes, middle)
        queries, references = self._queries(memory, shapes, middle)
        states, references = model.decoder(
            query=model.query_embedding.weight[None].expand(memory.shape[0], -1, -1),
            value=memory,
            key_padding_mask=None,
            self_attn_mask=None,
            reference_points=references,
            spatial_shapes=shapes,
            level_start_index=None,
            valid_ratios=whole,
            reg_branches=model.bbox_head.reg_branches,
        )
        classes, boxes = model.bbox_head(states, list(references))
        return *self._best(classes[-1].sigmoid(), boxes[-1], images), queries

    def _memory(self, maps: Sequence[Tensor], shapes: Shapes, middle: Tensor) -> Tensor:
        """The encoder's tokens, B x T x C."""
        model, positions = self.model, []
        for level, embedding in zip(maps, model.level_embed, strict=True):
            position = model.positional_encoding(None, input=level[:1]).to(level.dtype) + embedding.view(1, -1, 1, 1)
            positions.append(position.flatten(2).transpose(1, 2))
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], 1)
        for layer in model.encoder.layers:
            tokens = layer(
                query=tokens,
                query_pos=torch.cat(positions, 1),
                key_padding_mask=None,
                spatial_shapes=shapes,
                reference_points=middle[None, :, None].expand(-1, -1, len(shapes), -1),
            )
        return tokens

    def _queries(self, memory: Tensor, shapes: Shapes, middle: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens of the highest scores, B x Q, and their boxes, from which decoding starts, B x Q x 4."""
        model = self.model
        sides = [torch.full_like(part.flatten(), 0.05 * 2**i) for i, part in enumerate(_levels(middle[:, 0], shapes))]
        boxes = torch.cat([middle, torch.cat(sides)[:, None].expand(-1, 2)], -1)
        inside = ((boxes > 0.01) & (boxes < 0.99)).all(-1, keepdim=True)
        logits = torch.log(boxes / (1 - boxes)).masked_fill(~inside, float("inf")).to(memory.dtype)
        tokens = model.memory_trans_norm(model.memory_trans_fc(memory.masked_fill(~inside, 0.0)))
        head, last = model.bbox_head, model.decoder.num_layers
        best = head.cls_branches[last](tokens).amax(-1).topk(model.num_queries, dim=1)[1]
        found = head.reg_branches[last](tokens) + logits
        return best, found.gather(1, best[..., None].expand(-1, -1, 4)).sigmoid()

    def _best(self, scores: Tensor, boxes: Tensor, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        head, (height, width) = self.model.bbox_head, images.shape[-2:]
        best, place = scores.flatten(1).topk(self.model.test_cfg.get("max_per_img", self.model.num_queries))
        query = torch.div(place, head.num_classes, rounding_mode="floor")
        boxes = boxes.float().gather(1, query[..., None].expand(-1, -1, 4))
        middle, half = boxes[..., :2], boxes[..., 2:] / 2
        limits = torch.stack([_number(n, images.device) for n in (width, height, width, height)])
        pixels = (torch.cat([middle - half, middle + half], -1) * limits).clamp_min(0).minimum(limits)
        return pixels, best, place - query * head.num_classes


class QueriesOf(TorchFunctionMode):
    """Within it mmdet's DINO takes the queries that a file took, B x Q, if theirs are the highest scores but for
    ``tolerance``. Of thousands of tokens some have scores nearer than rounding, which come in either order, and a
    token's rank decides which learned query it gets."""

    def __init__(self, queries: Tensor, tolerance: float) -> None:
        super().__init__()
        self.queries, self.tolerance = queries, tolerance

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is not torch.topk or found.indices.shape != self.queries.shape:
            return found
        scores = args[0].gather(1, self.queries)
        highest = torch.allclose(scores, found.values, rtol=self.tolerance, atol=self.tolerance)
        different = bool((self.queries.sort(1).values.diff(dim=1) > 0).all())
        return torch.return_types.topk((scores, self.queries)) if highest and different else found

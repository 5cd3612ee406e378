"""SwinV2 as an OpenMMLab backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, cast

from mmengine.model import BaseModule, PretrainedInit, initialize
from torch import Tensor, nn

from swinv2_dense.checkpoint import adapt_state_dict, load_pretrained
from swinv2_dense.checkpoint.window_transfer import windows_per_stage
from swinv2_dense.errors import UserError
from swinv2_dense.layers import POSITION_BIASES, PatchEmbed, SwinStage
from swinv2_dense.models.archs import arch_of
from swinv2_dense.registry import MODELS

__all__ = ["SwinTransformerV2", "Windows", "init_linear", "input_channels"]

Windows = int | Sequence[int] | Sequence[int | Sequence[int]]


@MODELS.register_module()
class SwinTransformerV2(BaseModule):
    """Swin Transformer V2 (arXiv 2111.09883), features of every stage.

    A B x 3 x H x W image of any H, W (pixels) becomes B x C_i x H_i x W_i at strides 4, 8, 16, 32 (ceil division),
    taken before patch merging and normalised by ``norm{i}``. Classification weights carry only the last of these norms.

    Weights of any publisher load by ``init_cfg=dict(type='Pretrained', checkpoint=...)``, ``load_from``,
    :meth:`load_state_dict` or :func:`swinv2_dense.checkpoint.load_pretrained`, and bring their pre-training window with
    them; the window they are used with is ``window_size``'s.

    Args:
        arch: 'tiny', 'small', 'base', 'large', 'huge', 'giant' or their first letters, or a dict with ``embed_dims``,
            ``depths``, ``num_heads`` and optionally ``extra_norm_every_n_blocks``.
        in_channels: channels of the input.
        patch_size: pixels per token, an int or (h, w).
        window_size: tokens; an int, (h, w), or one of these per stage. A map no larger is one window.
        pretrained_window_size: as ``window_size``, the window of the pre-training (section 3.3); None for what the
            loaded weights say, or the window itself when training from scratch.
        qkv_bias: learn a bias of queries and values (keys have none).
        drop_path_rate: stochastic depth of the last block; the first has 0.
        out_indices: stages to return, as a tuple in ascending order; an int returns that stage's tensor itself.
        frozen_stages: 0 freezes the patch embedding, n also the first n stages and their norms, -1 nothing.
        with_cp: activation checkpointing per block (section 3.5).
        pad_attention: 'mask': windows at the border are smaller and tokens attend to tokens alone. 'zeros': maps are
            padded with zeros that take part in attention, as in Hugging Face's and MMPretrain's models.
        position_bias: 'log_cpb'; or what the paper's table 1 compares it with: 'linear_cpb', the same network on
            offsets without the logarithm, or 'table', a learnt table, resized bicubically where the window changes.
        init_cfg: mmengine's: an initialisation or a list of them, applied in order, ``Pretrained`` last.

    Raises:
        UserError: an argument is out of its range; names it.
    """

    # What a variant with other axes sets. Patch merging halves the last two.
    axes: tuple[str, ...] = ("H", "W")

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "tiny",
        *,
        in_channels: int = 3,
        patch_size: int | Sequence[int] = 4,
        window_size: Windows = 8,
        pretrained_window_size: Windows | None = None,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        out_indices: int | Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        with_cp: bool = False,
        pad_attention: str = "mask",
        position_bias: str = "log_cpb",
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if type(in_channels) is not int or in_channels < 1:
            raise UserError(f"in_channels={in_channels!r} must be a whole number from 1 on")
        for key, flag in (("qkv_bias", qkv_bias), ("with_cp", with_cp)):
            if type(flag) is not bool:
                raise UserError(f"{key}={flag!r} must be True or False")
        rates = {"drop_rate": drop_rate, "attn_drop_rate": attn_drop_rate, "drop_path_rate": drop_path_rate}
        for key, rate in rates.items():
            if type(rate) not in (int, float) or not 0 <= rate < 1:
                raise UserError(f"{key}={rate!r} must be a number from 0 on and below 1")
        spec, rank = arch_of(arch), len(self.axes)
        stages = len(spec.depths)
        if type(mlp_ratio) not in (int, float) or not 1 <= spec.embed_dims * mlp_ratio < float("inf"):
            raise UserError(f"mlp_ratio={mlp_ratio!r} must be a number above 0 that leaves hidden channels")
        self.arch, self.embed_dims, self.depths, self.num_heads = arch, spec.embed_dims, spec.depths, spec.num_heads
        self.num_layers = stages
        self.num_features = [spec.embed_dims * 2**i for i in range(stages)]
        self.in_channels, self.frozen_stages = in_channels, frozen_stages
        self.returns_tensor = isinstance(out_indices, int)
        self.out_indices = _stages_of(out_indices, stages)
        if type(frozen_stages) is not int or not -1 <= frozen_stages <= stages:
            raise UserError(f"frozen_stages={frozen_stages!r} must be from -1 (nothing) to {stages} (everything)")
        if pad_attention not in ("mask", "zeros"):
            raise UserError(f"pad_attention={pad_attention!r} must be 'mask' or 'zeros'")
        if position_bias not in tuple(POSITION_BIASES):
            raise UserError(f"position_bias={position_bias!r} must be one of {', '.join(map(repr, POSITION_BIASES))}")
        self.patch_size = windows_per_stage(patch_size, 1, rank, "patch_size", "pixels")[0]
        self.window_size = windows_per_stage(window_size, stages, rank, "window_size")
        self.pretrained_window_given = (
            None
            if pretrained_window_size is None
            else windows_per_stage(pretrained_window_size, stages, rank, "pretrained_window_size")
        )

        self.patch_embed = PatchEmbed(in_channels, spec.embed_dims, self.patch_size)
        self.pos_drop = nn.Dropout(drop_rate)
        last = max(sum(spec.depths) - 1, 1)
        drop_paths = iter([drop_path_rate * block / last for block in range(sum(spec.depths))])
        self.layers = nn.ModuleList(
            SwinStage(
                self.num_features[i],
                spec.num_heads[i],
                self.window_size[i],
                (self.pretrained_window_given or self.window_size)[i],
                drop_path=list(islice(drop_paths, spec.depths[i])),
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                drop=drop_rate,
                attn_drop=attn_drop_rate,
                pad_attention=pad_attention,
                position_bias=position_bias,
                extra_norm_every_n_blocks=spec.extra_norm_every_n_blocks,
                downsample=i < stages - 1,
                with_cp=with_cp,
            )
            for i in range(stages)
        )
        for i in self.out_indices:
            self.add_module(f"norm{i}", nn.LayerNorm(self.num_features[i]))
        self.apply(init_linear)
        self._freeze()
        self.register_load_state_dict_pre_hook(_adapt)

    def _stages(self) -> list[SwinStage]:
        return [cast(SwinStage, stage) for stage in self.layers]

    @property
    def pretrained_window_size(self) -> tuple[tuple[int, ...], ...]:
        """Pre-training window of every stage, in tokens."""
        return tuple(stage.pretrained_window for stage in self._stages())

    def set_pretrained_window_size(self, windows: Sequence[tuple[int, ...]]) -> None:
        """Set every stage's pre-training window, in tokens per axis."""
        for stage, window in zip(self._stages(), windows, strict=True):
            stage.set_pretrained_window(tuple(window))

    _is_init: bool

    def init_weights(self) -> None:
        """Apply ``init_cfg`` as mmengine does: once, one entry after another, and ``Pretrained`` after all others, but
        with our own loading, which knows every publisher's names. Without any, weights stay as they were drawn.

        Raises:
            UserError: an entry is no dict with a ``type``, or its checkpoint does not fit.
        """
        if self._is_init:
            return
        entries = [self.init_cfg] if isinstance(self.init_cfg, Mapping) else list(self.init_cfg or [])
        for entry in entries:
            if not isinstance(entry, Mapping) or "type" not in entry:
                raise UserError(f"init_cfg of {type(self).__name__}: {entry!r} is no dict(type=..., ...)")
        pretrained = [entry for entry in entries if entry["type"] in ("Pretrained", PretrainedInit)]
        initialize(self, [dict(entry) for entry in entries if entry not in pretrained])
        for entry in pretrained:
            self._load(entry)
        self._is_init = True

    def _load(self, entry: Mapping[str, Any]) -> None:
        known = ("type", "checkpoint", "prefix", "map_location")  # the last has no say: weights go where ours are
        if unknown := [key for key in entry if key not in known]:
            raise UserError(f"init_cfg: Pretrained takes checkpoint and prefix, not {', '.join(map(repr, unknown))}")
        if "checkpoint" not in entry:
            raise UserError("init_cfg: Pretrained needs checkpoint=..., a path, an address, timm:NAME or hf:NAME")
        load_pretrained(self, entry["checkpoint"], self.pretrained_window_given, prefix=entry.get("prefix") or "")

    def train(self, mode: bool = True) -> SwinTransformerV2:
        """Frozen parts stay in eval mode: their biases are cached and nothing is dropped."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        norms = [getattr(self, f"norm{i}") for i in self.out_indices if i < self.frozen_stages]
        return [self.patch_embed, *self.layers[: self.frozen_stages], *norms]

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | Tensor:
        """B x C_in x *pixels -> B x C_i x *tokens_i for every stage of ``out_indices``."""
        if x.ndim != 2 + len(self.axes) or x.shape[1] != self.in_channels:
            wanted = " x ".join(("B", str(self.in_channels), *self.axes))
            raise UserError(
                f"{type(self).__name__} takes {wanted} (in_channels={self.in_channels}), got {tuple(x.shape)}"
            )
        return self._features(self.patch_embed(x))

    def _features(self, x: Tensor) -> tuple[Tensor, ...] | Tensor:
        """B x *tokens x C, behind the patch embedding -> as :meth:`forward`."""
        x = self.pos_drop(x)
        features = []
        for i, stage in enumerate(self._stages()):
            x = stage(x)
            if i in self.out_indices:
                feature = getattr(self, f"norm{i}")(x).movedim(-1, 1)
                # On CPUs convolutions are faster, and RoIAlign too, on maps that lie channels last, as they do here.
                features.append(feature if feature.device.type == "cpu" else feature.contiguous())
            if stage.downsample is not None:
                x = stage.downsample(x)
        return features[0] if self.returns_tensor else tuple(features)


def _stages_of(out_indices: int | Sequence[int], stages: int) -> tuple[int, ...]:
    """The stages that an argument names. Their order is that of the maps which come out, so it cannot be another."""
    found = tuple(out_indices) if isinstance(out_indices, Sequence) else (out_indices,)
    whole = all(type(i) is int and 0 <= i < stages for i in found)
    if not found or not whole or list(found) != sorted(set(found)):
        raise UserError(
            f"out_indices={out_indices!r} must be a stage, or a list of stages, from 0 to {stages - 1}, ascending and "
            "each once"
        )
    return found


def input_channels(model: nn.Module) -> int:
    """Of the images that a model takes, by its backbone; 3 where that is none of ours."""
    return next((module.in_channels for module in model.modules() if isinstance(module, SwinTransformerV2)), 3)


def init_linear(module: nn.Module) -> None:
    """Truncated normals of 0.02 for every linear layer, the meta network's included, as the authors initialise."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _adapt(module: nn.Module, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
    _metadata, _strict, _missing_keys, unexpected_keys, _errors = rest
    adapt_state_dict(module, state_dict, prefix, unexpected_keys)

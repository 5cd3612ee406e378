"""SwinV2 for clips: the image backbone's code with a time axis in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swinv2_dense.models.swin_v2 import SwinTransformerV2, Windows
from swinv2_dense.registry import MODELS

__all__ = ["VideoSwinTransformerV2"]


@MODELS.register_module()
class VideoSwinTransformerV2(SwinTransformerV2):
    """Swin Transformer V2 with axes (t, y, x), the video model of section 4.2.

    A B x 3 x T x H x W clip becomes B x C_i x T' x H_i x W_i, T' = ceil(T / patch) in every stage (patch merging halves
    height and width only), H_i and W_i at strides 4, 8, 16, 32. Windows are cut, shifted and clamped per axis, and the
    position bias is a function of (t, y, x).

    Image checkpoints load as well and are inflated: a clip of identical frames gives the image model's features.

    Arguments are :class:`SwinTransformerV2`'s, with windows and patches (t, h, w) in tokens and in frames and pixels;
    ``out_indices=3``, an int, returns that stage's tensor itself, which is what mmaction2's heads take.
    """

    axes = ("T", "H", "W")

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "tiny",
        *,
        patch_size: int | Sequence[int] = (2, 4, 4),
        window_size: Windows = (8, 8, 8),
        **kwargs: Any,
    ) -> None:
        super().__init__(arch, patch_size=patch_size, window_size=window_size, **kwargs)

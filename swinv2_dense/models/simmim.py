"""SimMIM (arXiv 2111.09886), by which SwinV2 is pre-trained without labels: masked patches are to be reconstructed.

The masks come from :class:`~swinv2_dense.datasets.block_masks.BlockMask`, mmpretrain's ``SimMIM`` and
``SimMIMLinearDecoder`` stand between the two classes here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.models.swin_v2 import SwinTransformerV2
from swinv2_dense.registry import MODELS

__all__ = ["SimMIMHead", "SimMIMSwinTransformerV2", "masked_l1", "norm_targets"]


@MODELS.register_module()
class SimMIMSwinTransformerV2(SwinTransformerV2):
    """:class:`SwinTransformerV2` with one learnt token in the place of every masked patch embedding.

    Arguments are :class:`SwinTransformerV2`'s. Its checkpoints load into every other model, and every checkpoint of a
    SwinV2 loads here.
    """

    def __init__(self, arch: str | Mapping[str, Any] = "tiny", **kwargs: Any) -> None:
        super().__init__(arch, **kwargs)
        self.mask_token = nn.Parameter(torch.empty(1, 1, self.embed_dims))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...] | Tensor:
        """Images B x C_in x H x W and masks B x tokens (1: masked; None: nothing is) -> features of the stages."""
        if mask is None:
            return super().forward(x)
        tokens = self.patch_embed(x)
        if mask.shape != tokens.shape[:-1]:
            raise UserError(
                f"the mask is {tuple(mask.shape)}, the patch embedding {tuple(tokens.shape[:-1])}: make "
                "BlockMask.model_patch_size the backbone's patch_size"
            )
        return self._features(torch.where(mask[..., None].bool(), self.mask_token.to(tokens.dtype), tokens))


def norm_targets(images: Tensor, size: int) -> Tensor:
    """Pixels less the mean of their ``size`` x ``size`` neighbourhood, over its standard deviation.

    B x C x H x W -> the same. At the border the neighbourhood is what lies in the image; the variance is the unbiased
    one, plus 1e-6.
    """
    mean, variance = _neighbourhood(images, size)
    return (images - mean) * (variance + 1e-6).rsqrt()


def _neighbourhood(images: Tensor, size: int) -> tuple[Tensor, Tensor]:
    if size % 2 == 0:
        raise UserError(f"norm_target={size}: the side of a neighbourhood with a middle is odd")

    def average(x: Tensor, with_padding: bool = False) -> Tensor:
        # an axis after the other: 2 * size numbers a pixel instead of size**2
        for kernel in ((size, 1), (1, size)):
            x = F.avg_pool2d(x, kernel, 1, (kernel[0] // 2, kernel[1] // 2), count_include_pad=with_padding)
        return x

    # about the image's mean, where squares are small, and float32 holds their difference
    middle = images.mean((-2, -1), keepdim=True)
    centred = images - middle
    mean = average(centred)
    count = average(torch.ones_like(images[:1, :1]), with_padding=True) * size**2
    variance = (average(centred.square()) - mean.square()) * count / (count - 1).clamp_min(1)
    return mean + middle, variance.clamp_min(0)


def masked_l1(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of B x C x H x W over the pixels where ``mask``, B x H x W, is 1, and over channels."""
    difference = (predicted - target).abs() * mask[:, None]
    return difference.sum() / (mask.sum() + 1e-5) / target.shape[1]


@MODELS.register_module()
class SimMIMHead(BaseModule):
    """The loss of SimMIM: masked L1 to the image, or to its :func:`norm_targets`.

    Args:
        patch_size: pixels of a token, an int or (h, w): a mask has one entry a token.
        norm_target: side of the neighbourhoods in pixels, 47 in the authors' configs; None for plain pixels.
    """

    def __init__(self, patch_size: int | Sequence[int] = 4, norm_target: int | None = 47) -> None:
        super().__init__()
        self.patch_size = (patch_size, patch_size) if isinstance(patch_size, int) else tuple(patch_size)
        self.norm_target = norm_target

    def pixel_mask(self, mask: Tensor, images: Tensor) -> Tensor:
        """A mask of tokens, B x h x w, as one of pixels, B x H x W."""
        h, w = self.patch_size
        mask = mask.repeat_interleave(h, 1).repeat_interleave(w, 2)
        return mask[:, : images.shape[-2], : images.shape[-1]].to(images.dtype)

    def loss(self, pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """``pred``: what the decoder made, at least as large as the images ``target``, B x C x H x W."""
        pred = pred[..., : target.shape[-2], : target.shape[-1]]
        if self.norm_target is not None:
            target = norm_targets(target.float(), self.norm_target)
        return masked_l1(pred.float(), target, self.pixel_mask(mask, target))

    def images(self, pred: Tensor, target: Tensor) -> Tensor:
        """What was reconstructed, as an image: normalised targets get the mean and the contrast of the true
        neighbourhoods, as the prediction says nothing of them."""
        pred = pred[..., : target.shape[-2], : target.shape[-1]]
        if self.norm_target is None:
            return pred
        mean, variance = _neighbourhood(target, self.norm_target)
        return pred * (variance + 1e-6).sqrt() + mean

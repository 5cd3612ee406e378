"""Class maps of large images without the logits of all their classes.

mmseg enlarges the logits to the size of the original image before it looks for each pixel's highest: 7 GB for a photo
of 4000 x 3000 pixels and 150 classes. Some classes at a time give the same map, but for pixels where two are equal to
the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["lean_class_maps"]

BYTES = 2**29  # of enlarged logits at a time, if two classes have no more


@contextmanager
def lean_class_maps(model: nn.Module) -> Iterator[None]:
    """For the time of this context a segmenter of mmseg's makes ``pred_sem_seg`` alone, and no ``seg_logits`` of the
    original size; other models, among them those that merge logits of several views, are as they are."""
    if not _is_mmsegs(model):
        yield
        return
    segmenter: Any = model
    segmenter.postprocess_result = partial(_postprocess, segmenter.postprocess_result)
    try:
        yield
    finally:
        del segmenter.postprocess_result


def _is_mmsegs(model: nn.Module) -> bool:
    """Whether it makes its maps as mmseg does."""
    made = getattr(type(model), "postprocess_result", None)
    return getattr(made, "__module__", "") == "mmseg.models.segmentors.base" and "postprocess_result" not in vars(model)


def _postprocess(original: Any, logits: Tensor, samples: Sequence[Any] | None = None) -> Any:
    """B x classes x H x W -> the samples with ``pred_sem_seg``, 1 x original height x width, by ``original``."""
    classes = logits.shape[1]
    if samples is None or classes < 3:
        return original(logits, samples)
    from mmengine.structures import PixelData

    for one, sample in zip(logits.split(1), samples, strict=True):
        height, width = sample.ori_shape[:2]
        step = max(2, BYTES // (height * width * logits.element_size()))
        best, found = None, None
        for first in range(0, classes, step):
            first = min(first, classes - 2)  # a single class would be a threshold's to decide
            part = original(one[:, first : first + step], [type(sample)(metainfo=sample.metainfo)])[0]
            high, label = part.seg_logits.data.max(0)
            if best is None or found is None:
                best, found = high, label
            else:
                higher = high > best
                best[higher], found[higher] = high[higher], label[higher] + first
        assert found is not None
        sample.pred_sem_seg = PixelData(data=found[None])
    return samples

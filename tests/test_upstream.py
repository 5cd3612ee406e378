"""What we use of other libraries' internals is still there as we use it: an upgrade fails here, in one place."""

from __future__ import annotations

import torch


def test_torchvision_roi_align_backward() -> None:
    """``compat/mmcv_ops/roi.py``: the public operator would have to compute the forward again."""
    import torchvision  # noqa: F401  registers the operators

    schema = torch.ops.torchvision._roi_align_backward.default._schema
    assert [argument.name for argument in schema.arguments] == [
        *("grad", "rois", "spatial_scale", "pooled_height", "pooled_width"),
        *("batch_size", "channels", "height", "width", "sampling_ratio", "aligned"),
    ]

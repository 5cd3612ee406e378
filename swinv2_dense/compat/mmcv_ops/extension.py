"""What ``mmcv._ext`` holds where it is not compiled."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

import torch

from swinv2_dense.compat.mmcv_ops import attention, boxes, deform, loss, roi
from swinv2_dense.errors import UserError

__all__ = ["OPERATORS", "fill"]


def get_compiler_version() -> str:
    """Logged by mmengine as ``MMCV Compiler`` at the start of every run."""
    return "none (torchvision's operators)"


def get_compiling_cuda_version() -> str:
    """Logged by mmengine as ``MMCV CUDA Compiler``: torchvision's operators are compiled for torch's CUDA."""
    return torch.version.cuda or "not available"


OPERATORS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(boxes.nms, boxes.softnms, boxes.nms_match, boxes.bbox_overlaps),
        *(roi.roi_align_forward, roi.roi_align_backward, roi.roi_pool_forward, roi.roi_pool_backward),
        *(deform.deform_conv_forward, deform.deform_conv_backward_input, deform.deform_conv_backward_parameters),
        *(deform.modulated_deform_conv_forward, deform.modulated_deform_conv_backward),
        *(attention.ms_deform_attn_forward, attention.ms_deform_attn_backward),
        *(loss.sigmoid_focal_loss_forward, loss.sigmoid_focal_loss_backward),
        *(loss.softmax_focal_loss_forward, loss.softmax_focal_loss_backward),
        *(get_compiler_version, get_compiling_cuda_version),
    )
}


def fill(module: ModuleType) -> None:
    """Make ``module`` what ``mmcv._ext`` is to ``mmcv.ops``.

    ``mmcv.ops`` looks up every operator when it is imported, so the others must be there too; they raise when called.
    """
    vars(module).update(OPERATORS, __getattr__=_missing)


def _missing(name: str) -> Callable[..., NoReturn]:
    if name.startswith("__"):  # asked by Python itself: a module without __path__ is no package
        raise AttributeError(f"module 'mmcv._ext' has no attribute '{name}'")

    def missing(*args: object, **kwargs: object) -> NoReturn:
        raise UserError(
            f"mmcv's operator {name} is not among those that run without a compiled mmcv: replace mmcv-lite by one "
            "that is compiled for this torch (MMCV_WITH_OPS=1 pip install --no-build-isolation --no-cache-dir "
            "--no-deps onedl-mmcv; a GPU needs the CUDA toolkit; see docs/install.md)"
        )

    missing.__name__ = name
    return missing

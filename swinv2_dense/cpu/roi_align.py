"""RoIAlign (He et al., Mask R-CNN, 2017) on CPUs: ``roi_align.cpp`` on maps that lie channels last."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from swinv2_dense.cpu.native import kernels_take, library

__all__ = ["kernel_takes", "roi_align", "roi_align_backward"]

_NUMBERS = ("images", "height", "width", "channels", "rois", "rows", "columns", "samples", "aligned", "threads")


class _Call(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in _NUMBERS),
        ("scale", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("boxes", "maps", "pooled")),
    )


def kernel_takes(maps: Tensor, rois: Tensor) -> bool:
    """Whether the kernel is there and computes with these maps, B x C x H x W, and RoIs, N x 5."""
    return (
        all(t.device.type == "cpu" and t.dtype == torch.float32 for t in (maps, rois))
        and maps.numel() > 0
        and kernels_take(maps, rois)
    )


def roi_align(
    maps: Tensor, rois: Tensor, size: tuple[int, int], scale: float, samples: int, aligned: bool, out: Tensor
) -> None:
    """Write the mean of each bin's samples to ``out``, N x C x rows x columns, contiguous.

    Args:
        maps: B x C x H x W, float32. Channels last is read as it lies, another layout is copied.
        rois: N x 5, (index of the image, x1, y1, x2, y2), pixels.
        size: Rows and columns of bins.
        scale: Pixels of the map per pixel of the RoIs.
        samples: Samples of a bin along each axis; 0: as many as it has pixels, rounded up.
        aligned: Whether a pixel's value lies at its middle.

    Raises:
        IndexError: a RoI's image is not among the maps.
    """
    _run(
        "roi_align_float32",
        maps.contiguous(memory_format=torch.channels_last),
        rois,
        out,
        size,
        scale,
        samples,
        aligned,
    )


def roi_align_backward(grad: Tensor, rois: Tensor, out: Tensor, scale: float, samples: int, aligned: bool) -> None:
    """Add the gradient of the maps to ``out``, B x C x H x W and channels last, from that of the bins, N x C x rows x
    columns. The other arguments are :func:`roi_align`'s."""
    if not out.is_contiguous(memory_format=torch.channels_last):
        raise ValueError("the gradient of the maps must lie channels last")
    _run("roi_align_backward_float32", out, rois, grad.contiguous(), tuple(grad.shape[2:]), scale, samples, aligned)


def _run(
    name: str,
    maps: Tensor,
    rois: Tensor,
    pooled: Tensor,
    size: tuple[int, ...],
    scale: float,
    samples: int,
    aligned: bool,
) -> None:
    images, channels, height, width = maps.shape
    if not (rois.ndim == 2 and rois.shape[1] == 5 and pooled.shape == (len(rois), channels, *size)):
        raise ValueError(
            f"RoIs are N x 5 and bins N x {channels} x rows x columns, not {rois.shape} and {pooled.shape}"
        )
    if not pooled.is_contiguous():
        raise ValueError("bins must be contiguous")
    if len(rois) and not (rois[:, 0].min() >= 0 and rois[:, 0].max() < images):
        raise IndexError(f"RoIs name images from {rois[:, 0].min():g} to {rois[:, 0].max():g} of {images}")
    native, rois = library(), rois.contiguous()
    assert native is not None
    threads = torch.get_num_threads()
    call = _Call(images, height, width, channels, len(rois), *size, samples, aligned, threads, scale)
    call.boxes, call.maps, call.pooled = rois.data_ptr(), maps.data_ptr(), pooled.data_ptr()
    getattr(native, name)(ctypes.byref(call))

"""RoIAlign's kernel against torchvision's operator, at odd shapes and for odd boxes."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor

from swinv2_dense.compat.mmcv_ops.roi import MAXIMUM, roi_align_backward, roi_align_forward
from swinv2_dense.cpu.roi_align import kernel_takes
from swinv2_dense.cpu.roi_align import roi_align as by_kernel

pytestmark = pytest.mark.kernels

HEIGHT, WIDTH, SCALE = 21, 17, 0.25
ODD = [
    [1, 3.2, 4.1, 30.7, 25.3],
    [0, -30.0, -20.0, 500.0, 300.0],  # more than the image
    [1, 60.0, 70.0, 90.0, 120.0],  # ends outside
    [0, 6.0, 6.0, 6.4, 6.3],  # smaller than a pixel of the map
    [1, 100.0, 100.0, 120.0, 130.0],  # wholly outside
    [0, 20.0, 30.0, 20.0, 30.0],  # without extent
    [1, 40.0, 50.0, 8.0, 12.0],  # from right to left
]


def boxes(n: int = 40) -> Tensor:
    middle, extent = torch.rand(n, 2) * torch.tensor([WIDTH, HEIGHT]) / SCALE, 60 * torch.rand(n, 2)
    image = torch.randint(2, (n, 1)).float()
    return torch.cat([torch.tensor(ODD), torch.cat([image, middle - extent / 2, middle + extent / 2], 1)])


def both(maps: Tensor, rois: Tensor, size: tuple[int, int], samples: int, aligned: bool) -> tuple[Tensor, Tensor]:
    """Bins and the maps' gradient by the operators that mmcv calls."""
    out = torch.empty(len(rois), maps.shape[1], *size)
    none = torch.empty(0)
    settings = (*size, SCALE, samples, MAXIMUM + 1, aligned)
    roi_align_forward(maps, rois, out, none, none, *settings)
    gradient = torch.zeros(maps.shape)
    roi_align_backward(out.cos(), rois, none, none, gradient, *settings)
    return out, gradient


def by_torchvision(
    maps: Tensor, rois: Tensor, size: tuple[int, int], samples: int, aligned: bool
) -> tuple[Tensor, ...]:
    maps, rois = maps.double().requires_grad_(), rois.double()
    out = torchvision.ops.roi_align(maps, rois, size, SCALE, samples, aligned)
    return out, torch.autograd.grad(out, maps, out.cos())[0]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("samples", [0, 1, 3])
@pytest.mark.parametrize("size", [(7, 7), (14, 14), (1, 1), (3, 5)])
@pytest.mark.parametrize("channels", [1, 16, 37, 128])
def test_bins_and_gradients(channels: int, size: tuple[int, int], samples: int, aligned: bool) -> None:
    maps, rois = torch.randn(2, channels, HEIGHT, WIDTH), boxes()
    assert kernel_takes(maps, rois)
    found, expected = both(maps, rois, size, samples, aligned), by_torchvision(maps, rois, size, samples, aligned)
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_layouts_give_the_same_bits(threads: int) -> None:
    maps, rois = torch.randn(2, 40, HEIGHT, WIDTH), boxes()
    expected = both(maps, rois, (7, 7), 0, True)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for layout in (torch.contiguous_format, torch.channels_last):
            found = both(maps.contiguous(memory_format=layout), rois, (7, 7), 0, True)
            assert all(torch.equal(a, b) for a, b in zip(found, expected))
    finally:
        torch.set_num_threads(before)


def test_parts_of_tensors() -> None:
    whole, rois = torch.randn(2, 40, HEIGHT, WIDTH), boxes()
    part = whole[:, 3:20]
    for ours, theirs in zip(both(part, rois, (7, 7), 0, True), by_torchvision(part, rois, (7, 7), 0, True)):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-4, atol=5e-5)
    out = torch.empty(len(rois), 17, 7, 14)[..., ::2]
    with pytest.raises(ValueError, match="contiguous"):
        by_kernel(part, rois, (7, 7), SCALE, 0, True, out)


def test_a_gradient_that_is_not_zero_is_added_to() -> None:
    maps, rois = torch.randn(2, 16, HEIGHT, WIDTH), boxes()
    settings = (7, 7, SCALE, 0, MAXIMUM + 1, True)
    grad, none = torch.randn(len(rois), 16, 7, 7), torch.empty(0)
    alone, added, strided = torch.zeros_like(maps), maps.clone(), torch.zeros(2, 16, HEIGHT, 2 * WIDTH)[..., ::2]
    for gradient in (alone, added, strided):
        roi_align_backward(grad, rois, none, none, gradient, *settings)
    assert alone.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(added, maps + alone)
    torch.testing.assert_close(strided, alone)


def test_numbers_that_are_none_reach_no_memory() -> None:
    maps = torch.randn(1, 20, HEIGHT, WIDTH)
    odd = float("nan"), float("inf"), -float("inf"), 1e30
    rois = torch.tensor([[0, 4.0, 4.0, 8.0, 8.0], *([0, x, 4.0, 8.0, x] for x in odd), *([0, x, x, x, x] for x in odd)])
    out, gradient = both(maps, rois[:, :], (7, 7), 2, True)
    assert torch.equal(out[:1], both(maps, rois[:1], (7, 7), 2, True)[0])
    assert gradient.shape == maps.shape


@pytest.mark.parametrize("image", [-1.0, 2.0, float("nan")])
def test_an_image_that_is_not_there(image: float) -> None:
    rois = torch.tensor([[image, 4.0, 4.0, 8.0, 8.0]])
    with pytest.raises(IndexError, match=r"RoIs name images from .* of 2"):
        both(torch.randn(2, 8, HEIGHT, WIDTH), rois, (7, 7), 0, True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_numbers_are_torchvisions(dtype: torch.dtype) -> None:
    assert not kernel_takes(torch.randn(1, 8, 4, 4, dtype=dtype), torch.zeros(1, 5, dtype=dtype))


def test_under_a_transform_torchvision_computes() -> None:
    maps, rois = torch.randn(3, 1, 8, HEIGHT, WIDTH), torch.tensor([ODD[3]])
    seen = []
    torch.func.vmap(lambda m: (seen.append(kernel_takes(m, rois)), m)[1])(maps)
    assert seen == [False]

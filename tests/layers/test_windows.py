"""Windows: each token in exactly one, cut at shift + k * W, and partition and merge each other's inverse."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from swinv2_dense.layers import WindowGrid, merge, partition, window_grid

CASES = [
    ((8,), (4,)),
    ((7,), (3,)),
    ((16, 16), (8, 8)),
    ((9, 13), (4, 4)),
    ((5, 30), (8, 8)),
    ((6, 6), (1, 1)),
    ((4, 7, 9), (4, 3, 4)),
    ((1, 5, 5), (2, 2, 5)),
]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("size", "window"), CASES)
def test_windows_are_the_cells_between_the_cuts(size: tuple[int, ...], window: tuple[int, ...], shifted: bool) -> None:
    grid = window_grid(size, window, shifted=shifted)
    positions = torch.stack(torch.meshgrid(*(torch.arange(s) for s in size), indexing="ij"), -1)[None].double()
    tokens = partition(positions, grid)

    def cell(position: tuple[int, ...]) -> tuple[int, ...]:
        shifts = [w // 2 if shifted and s > w else 0 for s, w in zip(size, window)]
        return tuple((p - shift) // w for p, shift, w in zip(position, shifts, window))

    expected: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for position in product(*map(range, size)):
        expected.setdefault(cell(position), []).append(position)

    found, row = [], 0
    for group in grid.groups:
        for _ in range(group.windows):
            found.append([tuple(map(int, p)) for p in tokens[row : row + group.tokens].tolist()])
            row += group.tokens
    assert row == math.prod(size)
    assert sorted(found) == sorted(expected.values())
    assert [list(product(*(range(*span) for span in spans))) for spans in grid.spans()] == found


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("size", "window"), CASES)
def test_merge_undoes_partition_and_so_do_their_gradients(
    size: tuple[int, ...], window: tuple[int, ...], shifted: bool
) -> None:
    grid = window_grid(size, window, shifted=shifted)
    x = torch.randn(2, *size, 3, dtype=torch.float64, requires_grad=True)
    assert torch.equal(merge(partition(x, grid), grid, 2), x)
    tokens = torch.randn(2 * math.prod(size), 3, dtype=torch.float64, requires_grad=True)
    # the transpose of a permutation is its inverse: <partition(x), t> = <x, merge(t)>
    (grad_x,) = torch.autograd.grad(partition(x, grid), x, tokens)
    (grad_t,) = torch.autograd.grad(merge(tokens, grid, 2), tokens, x)
    assert torch.equal(grad_x, merge(tokens, grid, 2))
    assert torch.equal(grad_t, partition(x, grid))


@pytest.mark.parametrize("tokens", [1, 30, 100, 10**6])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("size", "window"), [*CASES, ((30, 6), (4, 4))])
def test_bands_are_cut_into_the_same_windows(
    size: tuple[int, ...], window: tuple[int, ...], shifted: bool, tokens: int
) -> None:
    grid = window_grid(size, window, shifted=shifted)
    numbers = torch.arange(math.prod(size)).view(1, *size, 1)

    def windows(x: torch.Tensor, grid: WindowGrid) -> list[list[int]]:
        runs = partition(x, grid).flatten().split([group.tokens for group in grid.groups for _ in range(group.windows)])
        return [run.tolist() for run in runs]

    bands = grid.bands(tokens)
    maps = numbers.split([band.size[0] for band in bands], dim=1)
    of_bands = [window for x, band in zip(maps, bands, strict=True) for window in windows(x, band)]
    assert sorted(of_bands) == sorted(windows(numbers, grid))
    whole_rows = min(window[0], size[0]) * math.prod(size[1:])
    assert all(math.prod(band.size) <= max(tokens, whole_rows) + whole_rows // 2 for band in bands)
    assert len(bands) == 1 or tokens < math.prod(size)


@pytest.mark.parametrize(
    ("size", "window", "groups"), [((16, 24), (8, 8), 4), ((16, 16, 16), (8, 8, 8), 8), ((8, 16), (8, 8), 2)]
)
def test_a_map_of_full_windows_has_two_groups_per_shifted_axis(
    size: tuple[int, ...], window: tuple[int, ...], groups: int
) -> None:
    assert len(window_grid(size, window, shifted=True).groups) == groups
    assert len(window_grid(size, window, shifted=False).groups) == 1


def test_a_batch_keeps_its_images_apart() -> None:
    grid = window_grid((9, 10), (4, 4), shifted=True)
    image = torch.arange(3.0)[:, None, None, None].expand(3, 9, 10, 1)
    row = 0
    for group in grid.groups:
        n = 3 * group.windows * group.tokens
        windows = partition(image, grid)[row : row + n].view(-1, group.tokens)
        assert torch.equal(windows.amin(1), windows.amax(1))
        row += n

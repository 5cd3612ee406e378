"""Drawings of what a model looks at: heat over its image, and the windows that attention is cut into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from swinv2_dense.layers import WindowAttention, WindowGrid
from swinv2_dense.models import SwinTransformerV2
from swinv2_dense.visualization.grad_cam import Explanation

__all__ = ["draw_cams", "draw_windows", "grids", "heat", "hottest", "strides", "visible", "window_of"]

Token = tuple[int, ...]
Span = tuple[tuple[int, int], ...]  # first token and the one behind the last, along each axis

_SMALL = 50  # tokens across: one gets a ring
_FRAMES = 6  # of a clip, at most
_MARK = "#00d5ff"  # no colour of the heat


def heat(cam: np.ndarray, stride: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """A map of tokens as one of pixels, float32, H x W of ``size``: linear between the middles of tokens.

    Args:
        cam: h x w tokens of ``stride`` pixels, which may reach beyond the image on the right and below.
    """
    h, w = cam.shape
    y, x = ((np.arange(n, dtype=np.float32) + 0.5) / s - 0.5 for n, s in zip(size, stride, strict=True))
    columns, rows = np.meshgrid(x.clip(0, w - 1), y.clip(0, h - 1))
    return np.asarray(cv2.remap(cam.astype(np.float32), columns, rows, cv2.INTER_LINEAR))


def visible(cam: np.ndarray, stride: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The tokens of a map (its last two axes) that see something of the image of ``size`` pixels, and not only padding
    on the right and below."""
    h, w = (-(-n // s) for n, s in zip(size, stride, strict=True))
    return cam[..., :h, :w]


def hottest(cam: np.ndarray) -> Token | None:
    """The token of the largest value; None where all are 0."""
    return tuple(int(i) for i in np.unravel_index(cam.argmax(), cam.shape)) if cam.any() else None


def strides(backbone: SwinTransformerV2, stage: int) -> tuple[int, int]:
    """Pixels of a stage's token, (y, x)."""
    y, x = backbone.patch_size[-2:]
    return y * 2**stage, x * 2**stage


def grids(backbone: SwinTransformerV2, stage: int, size: Token) -> dict[str, WindowGrid]:
    """How the blocks of a stage cut its map of ``size`` tokens, by what is to be said of it: those without shift, and
    those with, where there are any."""
    attentions = [cast(WindowAttention, block.attn) for block in cast(Any, backbone.layers[stage]).blocks]
    found = {}
    for shifted in (False, True):
        if same := [i for i, attention in enumerate(attentions) if attention.shifted == shifted]:
            grid = attentions[same[0]].grid(size)
            shifts = [w // 2 if s > w else 0 for s, w in zip(grid.size, grid.window, strict=True)]
            how = "" if not shifted else f", shifted by {_by(shifts)}" if any(shifts) else ", nothing to shift"
            cut = "one window" if grid.is_one_window else "windows"
            found[f"{_blocks(same)}: {cut} of {_by(grid.window)}{how}"] = grid
    return found


def _blocks(numbers: Sequence[int]) -> str:
    if len(numbers) < 4:
        return f"block{'s'[: len(numbers) > 1]} {', '.join(map(str, numbers))}"
    return f"blocks {numbers[0]}, {numbers[1]} ... {numbers[-1]}"


def _by(numbers: Sequence[int]) -> str:
    return " x ".join(map(str, numbers))


def window_of(token: Token, grid: WindowGrid) -> Span:
    """The window that a token lives in."""
    return next(
        span for span in grid.spans() if all(start <= at < stop for at, (start, stop) in zip(token, span, strict=True))
    )


def draw_cams(seen: np.ndarray, found: Explanation, backbone: SwinTransformerV2, name: str) -> Figure:
    """The image, or frames of the clip, and over it the heat of every stage that was asked for.

    The largest value of a stage is the hottest colour. What counted, boxes or the outline of pixels, is drawn on the
    image.

    Args:
        seen: uint8, RGB, H x W x 3 or T x H x W x 3.
        name: of the class.
    """
    clip = seen.ndim == 4
    height, width = seen.shape[-3:-1]
    cams = {stage: visible(cam, strides(backbone, stage), (height, width)) for stage, cam in found.cams.items()}
    times = next(iter(cams.values())).shape[0] if clip else 1
    chosen = np.linspace(0, times - 1, min(times, _FRAMES)).round().astype(int)  # tokens in time
    rows, columns = (1 + len(cams), len(chosen)) if clip else (1, 1 + len(cams))
    side = min(3.0 if clip else 4.5, 14 / columns)
    size = (side * columns + 0.8, rows * (side * height / width + 0.35) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.suptitle(f"Grad-CAM for {name!r}: {found.reason}", fontsize=11)
    for column, time in enumerate(chosen):
        frame = seen[time * backbone.patch_size[0]] if clip else seen
        line = axes[:, column] if clip else axes[0]
        _show(line[0], frame, f"frame {time * backbone.patch_size[0]}" if clip else f"input, {height} x {width}")
        _mark(line[0], found)
        for axis, (stage, cam) in zip(line[1:], cams.items(), strict=True):
            _show(axis, _grey(frame), f"stage {stage}, {_by(found.sizes[stage])} tokens")
            shares = heat(cam[time] if clip else cam, strides(backbone, stage), (height, width))
            shares = shares / (float(cam.max()) or 1.0)
            axis.imshow(shares, cmap="inferno", vmin=0, vmax=1, alpha=np.sqrt(shares) * 0.75)
            if not cam.any():
                axis.text(0.5, 0.5, "nothing speaks for it", transform=axis.transAxes, ha="center", color="white")
    colours = ScalarMappable(Normalize(0, 1), "inferno")
    bar = figure.colorbar(colours, ax=list(axes.flat), fraction=0.02, pad=0.01, aspect=30)
    bar.set_label("of the stage's largest value", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def _show(axis: Axes, image: np.ndarray, title: str) -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=9)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(image.mean(-1, keepdims=True).astype(np.uint8), 3, -1)


def _mark(axis: Axes, found: Explanation) -> None:
    if found.boxes is not None:
        for x1, y1, x2, y2 in found.boxes:
            axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=_MARK, linewidth=1.5))
    if found.region is not None and not found.region.all():
        right, bottom = axis.get_xlim()[1], axis.get_ylim()[0]
        h, w = found.region.shape
        x, y = ((np.arange(n) + 0.5) / n * (end + 0.5) - 0.5 for n, end in ((w, right), (h, bottom)))
        axis.contour(x, y, found.region, levels=[0.5], colors=[_MARK], linewidths=1.5)


def draw_windows(
    seen: np.ndarray, backbone: SwinTransformerV2, sizes: Sequence[Token], tokens: Mapping[int, Token]
) -> Figure:
    """The windows of every stage (a column each) as its blocks cut them, those without shift above.

    Of clips the cut in (y, x) is drawn, over a frame of the token. What a map has beyond the image is grey.

    Args:
        seen: uint8, RGB, H x W x 3 or T x H x W x 3.
        sizes: tokens of every stage's map.
        tokens: by stage, a token that is drawn with its windows.
    """
    height, width = seen.shape[-3:-1]
    cuts = [grids(backbone, stage, size) for stage, size in enumerate(sizes)]
    extents = [np.multiply(grid.size[-2:], strides(backbone, i)) for i, cut in enumerate(cuts) for grid in cut.values()]
    bottom, right = np.maximum(np.max(extents, axis=0), (height, width))
    rows, side = max(map(len, cuts)), 15 / len(sizes)
    figure = Figure(figsize=(15, rows * (side * bottom / right + 0.45) + 0.3), layout="constrained")
    axes = figure.subplots(rows, len(sizes), squeeze=False)
    for stage, (size, cut) in enumerate(zip(sizes, cuts, strict=True)):
        token = tokens.get(stage)
        frame = seen if seen.ndim == 3 else seen[min((token or (0,))[0] * backbone.patch_size[0], len(seen) - 1)]
        for axis, (name, grid) in zip(axes[:, stage], cut.items(), strict=False):
            _show(axis, _grey(frame) // 2, f"stage {stage}, {_by(size)} tokens\n{name}")
            axis.set(xlim=(-0.5, right - 0.5), ylim=(bottom - 0.5, -0.5), facecolor="0.75")
            _draw_grid(axis, grid, strides(backbone, stage), token)
        for axis in axes[len(cut) :, stage]:
            axis.axis("off")
    figure.supxlabel("red: a token    blue: the window that it attends in    grey: beyond the image", fontsize=9)
    return figure


def _draw_grid(axis: Axes, grid: WindowGrid, stride: tuple[int, int], token: Token | None) -> None:
    if token is not None:
        axis.add_patch(_rectangle(window_of(token, grid)[-2:], stride, facecolor=_MARK, alpha=0.45))
        axis.add_patch(_rectangle(tuple((at, at + 1) for at in token[-2:]), stride, facecolor="red", alpha=0.6))
        if grid.size[-1] > _SMALL:  # and too small to be seen
            y, x = ((at + 0.5) * s - 0.5 for at, s in zip(token[-2:], stride, strict=True))
            axis.plot(x, y, "o", markersize=9, markerfacecolor="none", markeredgecolor="red", markeredgewidth=1.5)
    cells = [_rectangle(span, stride) for span in {span[-2:] for span in grid.spans()}]
    width = 1.0 if len(cells) < 200 else 0.4
    axis.add_collection(PatchCollection(cells, facecolor="none", edgecolor="white", linewidth=width, clip_on=False))


def _rectangle(span: Span, stride: tuple[int, int], **style: Any) -> Rectangle:
    (top, bottom), (left, right) = span
    corner = (left * stride[1] - 0.5, top * stride[0] - 0.5)
    return Rectangle(corner, (right - left) * stride[1], (bottom - top) * stride[0], **style)

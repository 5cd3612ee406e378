"""Boxes and masks drawn over an image. Needs mmdet: configs name this module in ``custom_imports``."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from mmdet.visualization import DetLocalVisualizer
from mmengine.visualization.utils import color_str2rgb, value2list

from swinv2_dense.registry import VISUALIZERS

__all__ = ["DetVisualizer"]

_GROWS_FROM = 700  # pixels of the shorter side
_GENERATOR = threading.Lock()  # NumPy's random numbers are the process's


@VISUALIZERS.register_module()
class DetVisualizer(DetLocalVisualizer):
    """mmdet's, whose drawings are the same every time, and large ones done in seconds.

    mmdet jitters the colour of every mask at random. Here the jitter follows from the mask's place in the list: a mask
    has its class's colour, a little off, so that neighbours of a class differ, and the same in every run. Matplotlib
    draws what lies over the image and not the image, and masks are blended where they are.

    Lines and letters grow with images whose shorter side has more than 700 pixels, and names stay inside the image.

    ``ground``: the image without what Matplotlib draws; ``drawn``: the last drawing; uint8, H x W x 3, RGB.
    """

    ground: np.ndarray
    drawn: np.ndarray
    line_width: float

    def __init__(self, name: str = "visualizer", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._thin = self.line_width

    def add_datasample(self, *args: Any, **kwargs: Any) -> None:
        with _repeatable():
            super().add_datasample(*args, **kwargs)

    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        self.drawn = image
        super().add_image(name, image, step)

    def set_image(self, image: np.ndarray) -> None:
        super().set_image(image)
        for shown in list(self.ax_save.images):  # Matplotlib resamples an image, of its own size too, for seconds
            shown.remove()
        self.ax_save.set(xlim=(0, self.width), ylim=(self.height, 0))
        self.ground = image.astype(np.uint8)
        self._scale = max(1.0, min(image.shape[:2]) / _GROWS_FROM)
        self.line_width = self._thin * self._scale

    def draw_polygons(self, polygons: Any, *args: Any, line_widths: float = 2, **kwargs: Any) -> DetVisualizer:
        return super().draw_polygons(polygons, *args, line_widths=line_widths * self._scale, **kwargs)

    def draw_texts(self, texts: Any, positions: Any, font_sizes: float = 13, **kwargs: Any) -> DetVisualizer:
        """Write one text; what would reach over the right or the lower edge is moved inside."""
        super().draw_texts(texts, positions, font_sizes=font_sizes * self._scale, **kwargs)
        text = self.ax_save.texts[-1]
        extent = text.get_window_extent()  # from the lower left corner
        x, y = text.get_position()
        text.set_position((x - max(0, min(extent.x1 - self.width, extent.x0)), y + min(0, extent.y0)))
        return self

    def get_image(self) -> np.ndarray:
        """The image with what is drawn over it so far: uint8, H x W x 3, RGB."""
        rendered, (width, height) = self.fig_save_canvas.print_to_buffer()
        over = np.frombuffer(rendered, np.uint8).reshape(height, width, 4)
        image = self.ground.copy()
        touched = over[..., 3] > 0
        share = over[touched][:, 3:].astype(np.float32) / 255
        image[touched] = np.rint(over[touched][:, :3] * share + image[touched] * (1 - share)).astype(np.uint8)
        return image

    def draw_binary_masks(
        self, binary_masks: Any, colors: Sequence[Any] | str = "g", alphas: float | Sequence[float] = 0.8
    ) -> DetVisualizer:
        """Blend masks, bool, N x H x W, over what is drawn so far, one after another.

        Args:
            colors: RGB of each, or of all.
            alphas: how opaque they are, each or all.
        """
        masks = np.asarray(binary_masks)
        masks = masks[None] if masks.ndim == 2 else masks
        image = self.get_image()
        colors, strengths = value2list(colors, (str, tuple), len(masks)), value2list(alphas, float, len(masks))
        for mask, color, alpha in zip(masks, colors, strengths, strict=True):
            x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
            part, inside = image[y : y + height, x : x + width], mask[y : y + height, x : x + width]
            rgb = color_str2rgb(color) if isinstance(color, str) else color
            if not inside.any():
                continue
            part[inside] = cv2.addWeighted(part, 1 - alpha, np.full_like(part, rgb), alpha, 0)[inside]
        self.ground = image
        return self


@contextmanager
def _repeatable() -> Iterator[None]:
    """NumPy's random numbers from the same start, and afterwards as if none had been drawn."""
    with _GENERATOR:
        before = np.random.get_state()  # noqa: NPY002  mmdet takes its jitter from the process's generator
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002

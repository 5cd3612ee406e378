"""Drawn scenes with exact masks: data for demos and trials that need no download.

A scene is a textured ground with lighter shapes on it. Colour says nothing about the class, only the outline does.
Later shapes may cover part of earlier ones, so some instances have several polygons; a crowd is a cluster of small
shapes that is one annotation, as in COCO. Everything follows from the random generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["CLASSES", "GROUNDS", "Instance", "Scene", "draw_crop", "draw_scene"]

CLASSES = ("circle", "triangle", "square", "star")
GROUNDS = ("grain", "stripes", "checks")

_FINE = 4  # shapes are drawn this many times finer than the image: smooth edges, polygons exact to 1/4 pixel
_MIN_CONTRAST = 70.0  # distance of a shape's mean colour from the ground's, in grey levels
_MAX_OVERLAP = 0.25  # of the smaller of two instances; below 1, so that no instance is a hole in another

_Drawer = Callable[[np.random.Generator, int, tuple[int, int]], np.ndarray]


@dataclass(frozen=True)
class Instance:
    """One annotated object. ``fine_mask`` (bool, 4H x 4W) is its visible part, four times finer than the image."""

    category: int
    fine_mask: np.ndarray
    crowd: bool = False

    @property
    def mask(self) -> np.ndarray:
        """bool, H x W: the pixels of which at least half is visible shape."""
        return _coverage(self.fine_mask) >= 0.5

    def polygons(self) -> list[np.ndarray]:
        """Outlines of the visible parts, each N x 2 (x, y) in pixels, (0, 0) being the image's corner."""
        contours, _ = cv2.findContours(self.fine_mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
        outlines = [(contour[:, 0] + 0.5) / _FINE for contour in contours]
        return [outline for outline in outlines if cv2.contourArea(outline.astype(np.float32)) >= 1.0]


@dataclass(frozen=True)
class Scene:
    """``image``: uint8, H x W x 3, BGR. ``ground``: index into GROUNDS. ``instances``: from back to front."""

    image: np.ndarray
    ground: int
    instances: list[Instance]


def draw_scene(rng: np.random.Generator, size: tuple[int, int], count: int, *, crowd: bool = False) -> Scene:
    """An image of ``size`` (height, width) pixels with up to ``count`` shapes, and a crowd if asked for.

    A shape that finds no place is left out, so a small or full image may hold fewer than ``count``.
    """
    canvas = _Canvas(rng, size)
    if crowd:
        canvas.place(int(rng.integers(len(CLASSES))), _crowd_mask, crowd=True)
    for category in rng.integers(len(CLASSES), size=count):
        canvas.place(int(category), _shape_mask)
    return Scene(np.clip(canvas.image, 0, 255).round().astype(np.uint8), canvas.ground, canvas.instances)


def draw_crop(rng: np.random.Generator, side: int) -> tuple[np.ndarray, int]:
    """A square image (uint8, side x side x 3, BGR) filled by one shape, and its class: material for a classifier."""
    canvas = _Canvas(rng, (side, side))
    category = int(rng.integers(len(CLASSES)))
    radius = side * rng.uniform(0.25, 0.45)
    centre = side / 2 + rng.uniform(-0.12, 0.12, size=2) * side
    canvas.paint(_polygon_mask(_outline(rng, category, radius, centre), (side, side)))
    return np.clip(canvas.image, 0, 255).round().astype(np.uint8), category


class _Canvas:
    """The image in the making: float BGR pixels, and what is visible of each instance so far."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng, self.size = rng, size
        self.ground = int(rng.integers(len(GROUNDS)))
        self.colour = rng.uniform(20, 110, size=3)
        pattern = (_grain, _stripes, _checks)[self.ground](rng, size)
        self.image = self.colour + pattern[..., None] * rng.uniform(-30, 30, size=3) + rng.normal(0, 4, (*size, 3))
        self.instances: list[Instance] = []

    def place(self, category: int, draw: _Drawer, *, crowd: bool = False) -> None:
        """Paint one instance where it neither hides nor meets too much of the others; give up after some attempts."""
        for _ in range(20):
            mask = draw(self.rng, category, self.size)
            if all(_overlap(mask, other.fine_mask) <= _MAX_OVERLAP for other in self.instances):
                self.instances = [Instance(i.category, i.fine_mask & ~mask, i.crowd) for i in self.instances]
                self.instances.append(Instance(category, mask, crowd))
                self.paint(mask)
                return

    def paint(self, mask: np.ndarray) -> None:
        colour = self.rng.uniform(110, 255, size=3)
        while np.linalg.norm(colour - self.colour) < _MIN_CONTRAST:
            colour = self.rng.uniform(110, 255, size=3)
        alpha = _coverage(mask)[..., None]
        texture = _grain(self.rng, self.size)[..., None] * self.rng.uniform(-20, 20, size=3)
        self.image = self.image * (1 - alpha) + (colour + texture) * alpha


def _shape_mask(rng: np.random.Generator, category: int, size: tuple[int, int]) -> np.ndarray:
    """One shape anywhere, up to a fifth of its radius beyond the image's edge."""
    radius = min(size) * rng.uniform(0.11, 0.27)
    centre = [rng.uniform(0.8 * radius, side - 0.8 * radius) for side in reversed(size)]
    return _polygon_mask(_outline(rng, category, radius, np.array(centre)), size)


def _crowd_mask(rng: np.random.Generator, category: int, size: tuple[int, int]) -> np.ndarray:
    """Nine small shapes of one class in a loose 3 x 3 cluster."""
    radius = min(size) * rng.uniform(0.035, 0.05)
    corner = np.array([rng.uniform(2 * radius, side - 8 * radius) for side in reversed(size)])
    mask = np.zeros((size[0] * _FINE, size[1] * _FINE), bool)
    for row, column in np.ndindex(3, 3):
        centre = corner + radius * (2.6 * np.array([column, row]) + rng.uniform(-0.5, 0.5, size=2))
        mask |= _polygon_mask(_outline(rng, category, radius, centre), size)
    return mask


def _outline(rng: np.random.Generator, category: int, radius: float, centre: np.ndarray) -> np.ndarray:
    """N x 2 corners (x, y) in pixels of a shape, turned and slightly stretched at random."""
    corners, inner = {"circle": (48, 1.0), "triangle": (3, 1.0), "square": (4, 1.0), "star": (10, 0.45)}[
        CLASSES[category]
    ]
    angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(corners) / corners
    radii = radius * np.where(np.arange(corners) % 2, inner, 1.0)
    points = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return centre + points * rng.uniform(0.85, 1.0, size=2)


def _polygon_mask(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((size[0] * _FINE, size[1] * _FINE), np.uint8)
    # cv2 counts from the centre of the first cell, we from its corner: hence the half. It takes 1/16 cells as integers.
    cv2.fillPoly(mask, [np.round((outline * _FINE - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


def _coverage(fine_mask: np.ndarray) -> np.ndarray:
    """Share of each pixel that a fine mask covers, float64, H x W."""
    height, width = (side // _FINE for side in fine_mask.shape)
    return fine_mask.reshape(height, _FINE, width, _FINE).mean(axis=(1, 3))


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, min(one.sum(), other.sum())))


def _grain(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Smooth noise in -1..1, H x W."""
    coarse = rng.uniform(-1, 1, size=(max(2, size[0] // 8), max(2, size[1] // 8))).astype(np.float32)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def _stripes(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    angle, period = rng.uniform(0, np.pi), rng.uniform(8, 24)
    y, x = np.mgrid[: size[0], : size[1]]
    return np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)


def _checks(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    side = int(rng.integers(6, 14))
    y, x = np.mgrid[: size[0], : size[1]] // side
    return np.where((x + y) % 2, 1.0, -1.0)

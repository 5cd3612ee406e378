"""Drawn landscapes with exact class maps: what there is to segment in the demo.

A sky over mountains, sea, grass and a road, with houses and trees that hide one another by their distance. Every
image has its own light and every part its own colour, and these overlap between classes: texture, outline and place
distinguish them. Balloons are no class. Everything follows from the random generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["CLASSES", "OTHER", "Landscape", "draw_close_up", "draw_landscape"]

CLASSES = ("sky", "mountain", "sea", "grass", "road", "tree", "house")
OTHER = len(CLASSES)  # what is no class

_FINE = 4  # outlines are drawn this many times finer than the image: smooth edges

_Points = np.ndarray  # N x 2, (x, y) in pixels


@dataclass(frozen=True)
class Landscape:
    """``image``: uint8, H x W x 3, BGR. ``labels``: uint8, H x W, an index into CLASSES or OTHER."""

    image: np.ndarray
    labels: np.ndarray


def draw_landscape(rng: np.random.Generator, size: tuple[int, int]) -> Landscape:
    """An image of ``size`` (height, width) pixels."""
    canvas = _Canvas(rng, size)
    height, width = size
    horizon = height * rng.uniform(0.3, 0.5)
    canvas.fill("sky", _box(0, 0, width, height))
    if rng.random() < 0.35:
        _draw_balloon(canvas, np.array([rng.uniform(0.1, 0.9) * width, horizon * rng.uniform(0.2, 0.6)]))
    if rng.random() < 0.7:
        _draw_mountains(canvas, horizon)
    shore = horizon
    if rng.random() < 0.6:
        shore += height * rng.uniform(0.12, 0.25)
        canvas.fill("sea", _box(0, horizon, width, height))
    slope = height * rng.uniform(-0.05, 0.05)
    canvas.fill("grass", np.array([(0, shore - slope), (width, shore + slope), (width, height), (0, height)]))
    if rng.random() < 0.7:
        _draw_road(canvas, shore + abs(slope))
    things = [_draw_house] * int(rng.integers(0, 3)) + [_draw_tree] * int(rng.integers(0, 4))
    depths = np.sort(rng.uniform(0.15, 1.0, size=len(things)))  # 0 far, 1 near
    land = shore + abs(slope)
    for index, depth in zip(rng.permutation(len(things)), depths, strict=True):
        foot = np.array([rng.uniform(0.05, 0.95) * width, land + depth * (height - land)])
        things[index](canvas, foot, min(size) * (0.3 + 0.25 * depth))
    return canvas.finish()


def draw_close_up(rng: np.random.Generator, side: int) -> tuple[np.ndarray, int]:
    """An image (uint8, side x side x 3, BGR) of one class, and which: material for a classifier."""
    canvas = _Canvas(rng, (side, side))
    category = int(rng.integers(len(CLASSES)))
    name = CLASSES[category]
    canvas.fill("grass" if name in ("road", "tree", "house") else name, _box(0, 0, side, side))
    foot = np.array([side * rng.uniform(0.4, 0.6), side * rng.uniform(0.85, 1.0)])
    if name == "mountain":
        canvas.fill("sky", _box(0, 0, side, side))
        _draw_mountains(canvas, side * rng.uniform(1.0, 1.3), side)
    elif name == "road":
        _draw_road(canvas, side * rng.uniform(-0.4, 0.2))
    elif name == "tree":
        _draw_tree(canvas, foot, side * rng.uniform(0.7, 1.0))
    elif name == "house":
        _draw_house(canvas, foot, side * rng.uniform(0.7, 1.0))
    return canvas.finish().image, category


class _Canvas:
    """The image in the making: float BGR pixels in neutral light, and the class that is visible in each pixel."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng, self.size = rng, size
        self.image = np.zeros((*size, 3))
        self.labels = np.full(size, OTHER, np.uint8)

    def fill(self, name: str, outline: _Points) -> None:
        """Cover a region with a class, in its material."""
        self.paint(_MATERIALS[name](self.rng, self.size), CLASSES.index(name), outline)

    def paint(self, colour: np.ndarray, category: int, outline: _Points) -> None:
        """Cover a region with a colour (3) or an image (H x W x 3)."""
        mask = np.zeros((self.size[0] * _FINE, self.size[1] * _FINE), np.uint8)
        # cv2 counts from the centre of the first cell, we from its corner: hence the half. It takes 1/16 as integers.
        cv2.fillPoly(mask, [np.round((outline * _FINE - 0.5) * 16).astype(np.int32)], 255, shift=4)
        alpha = cv2.resize(mask, self.size[::-1], interpolation=cv2.INTER_AREA) / 255
        self.labels[alpha >= 0.5] = category
        self.image = self.image * (1 - alpha[..., None]) + colour * alpha[..., None]

    def finish(self) -> Landscape:
        """In the light of the day: brightness, tint, noise."""
        light = self.rng.uniform(0.65, 1.15) * self.rng.uniform(0.88, 1.12, size=3)
        image = self.image * light + self.rng.normal(0, 4, self.image.shape)
        return Landscape(np.clip(image, 0, 255).round().astype(np.uint8), self.labels)


def _draw_mountains(canvas: _Canvas, base: float, rise: float | None = None) -> None:
    """A range that rises up to ``rise`` pixels above row ``base``, and is there down to the lower edge."""
    rng, (height, width) = canvas.rng, canvas.size
    rise = 0.9 * base if rise is None else rise
    x = np.linspace(0, width, int(rng.integers(5, 9)))
    y = base - rise * rng.uniform(0.15, 0.85, size=len(x))
    canvas.fill("mountain", np.array([*zip(x, y, strict=True), (width, height), (0, height)]))


def _draw_road(canvas: _Canvas, far: float) -> None:
    """From row ``far`` to the lower edge, wider as it comes closer, with a line in its middle."""
    rng, (height, width) = canvas.rng, canvas.size
    end, start = rng.uniform(0.2, 0.8, size=2) * width
    half = width * rng.uniform(0.14, 0.22)
    outline = np.array(
        [(end - 0.3 * half, far), (end + 0.3 * half, far), (start + half, height), (start - half, height)]
    )
    canvas.fill("road", outline)
    if rng.random() < 0.6:
        middle = np.array([(end - 0.4, far), (end + 0.4, far), (start + 1.2, height), (start - 1.2, height)])
        canvas.paint(np.full(3, 225.0), CLASSES.index("road"), middle)


def _draw_tree(canvas: _Canvas, foot: np.ndarray, tall: float) -> None:
    """A trunk and a crown, round or pointed, ``tall`` pixels from foot to top."""
    rng, tree = canvas.rng, CLASSES.index("tree")
    x, y = foot
    thick = 0.05 * tall
    trunk = rng.uniform(0.6, 1.2) * np.array([40.0, 70.0, 100.0])
    canvas.paint(trunk, tree, _box(x - thick, y - 0.5 * tall, x + thick, y))
    if rng.random() < 0.35:
        half = tall * rng.uniform(0.25, 0.33)
        canvas.fill("tree", np.array([(x - half, y - 0.2 * tall), (x + half, y - 0.2 * tall), (x, y - tall)]))
        return
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    lobes = 1 + 0.08 * np.sin(rng.integers(5, 9) * angles + rng.uniform(0, 2 * np.pi))
    around = lobes[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    canvas.fill("tree", foot - (0, 0.66 * tall) + tall * around * (rng.uniform(0.3, 0.38), 0.34))


def _draw_house(canvas: _Canvas, foot: np.ndarray, tall: float) -> None:
    """Walls, a gable roof, a door and two windows, ``tall`` pixels from ``foot`` (the middle of its base) to top."""
    rng, house = canvas.rng, CLASSES.index("house")
    x, y = foot
    half, eaves = tall * rng.uniform(0.42, 0.6), tall * rng.uniform(0.5, 0.62)
    canvas.fill("house", _box(x - half, y - eaves, x + half, y))
    roof = np.array([(x - 1.12 * half, y - eaves), (x + 1.12 * half, y - eaves), (x, y - tall)])
    canvas.paint(rng.uniform((30, 30, 60), (110, 110, 200)), house, roof)
    canvas.paint(rng.uniform(20, 110, size=3), house, _box(x - 0.12 * half, y - 0.6 * eaves, x + 0.12 * half, y))
    pane = rng.uniform((90, 60, 30), (230, 220, 160))
    for side in (-0.58, 0.58):
        left, top = x + (side - 0.18) * half, y - 0.75 * eaves
        canvas.paint(pane, house, _box(left, top, left + 0.36 * half, top + 0.35 * eaves))


def _draw_balloon(canvas: _Canvas, centre: np.ndarray) -> None:
    radius = min(canvas.size) * canvas.rng.uniform(0.05, 0.09)
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    outline = centre + radius * np.stack([np.cos(angles), 1.2 * np.sin(angles)], axis=1)
    canvas.paint(canvas.rng.uniform(30, 255, size=3), OTHER, outline)


def _box(left: float, top: float, right: float, bottom: float) -> _Points:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def _between(rng: np.random.Generator, *colours: tuple[float, float, float]) -> np.ndarray:
    """A random mixture of colours (BGR)."""
    return rng.dirichlet(np.ones(len(colours))) @ np.array(colours, float)


def _noise(rng: np.random.Generator, size: tuple[int, int], cell: float) -> np.ndarray:
    """Smooth noise in -1..1 with bumps of ``cell`` pixels, H x W x 1."""
    coarse = rng.uniform(-1, 1, size=[max(2, round(side / cell)) for side in size]).astype(np.float32)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR)[..., None]


def _sky(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """One colour passing into another, at times with clouds."""
    zenith = _between(rng, (220, 150, 90), (200, 190, 180), (120, 90, 80))
    low = _between(rng, (240, 220, 190), (200, 200, 200), (120, 180, 240))
    share = np.clip(np.linspace(0, 1.8, size[0]), 0, 1)[:, None, None]
    clouds = np.clip(_noise(rng, size, 16) + rng.uniform(-0.8, 0.4), 0, 0.8)
    return (zenith * (1 - share) + low * share) * (1 - clouds) + 235 * clouds


def _mountain(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Slanted ridges, lit from one side."""
    colour = _between(rng, (130, 120, 110), (90, 120, 140), (90, 120, 80), (170, 150, 140))
    y, x = np.mgrid[: size[0], : size[1]]
    slant = rng.choice([-1, 1]) * rng.uniform(0.6, 1.4)
    folds = (x + slant * y + 6 * _noise(rng, size, 12)[..., 0]) / rng.uniform(9, 15) % 1.0
    return colour + 45 * (folds[..., None] - 0.5) + 12 * _noise(rng, size, 4)


def _sea(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Level waves, never quite regular."""
    colour = _between(rng, (190, 130, 50), (150, 150, 70), (190, 180, 170), (110, 90, 60))
    y = np.arange(size[0])[:, None]
    waves = np.sin(2 * np.pi * y / rng.uniform(4, 7) + 2.5 * _noise(rng, size, 10)[..., 0])
    return colour + 18 * waves[..., None]


def _grass(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Fine grain on broad patches."""
    colour = _between(rng, (50, 130, 80), (70, 160, 150), (60, 110, 60))
    return colour + 12 * _noise(rng, size, 18) + rng.normal(0, 14, (*size, 1))


def _road(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Almost even, grey to brown."""
    return _between(rng, (110, 110, 110), (80, 110, 140), (150, 160, 170)) + 5 * _noise(rng, size, 10)


def _tree(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Leaves in light and shade."""
    colour = _between(rng, (40, 110, 60), (40, 100, 150), (50, 80, 40), (60, 130, 120))
    return colour + 40 * _noise(rng, size, 4)


def _house(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Plain walls, or courses of brick."""
    wall = _between(rng, (90, 110, 190), (220, 225, 230), (150, 200, 220), (200, 170, 140))
    courses = np.where(np.arange(size[0]) % 4 == 0, -30.0, 0.0)[:, None, None] * (rng.random() < 0.5)
    return wall + courses + np.zeros((*size, 1))


_MATERIALS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "sky": _sky,
    "mountain": _mountain,
    "sea": _sea,
    "grass": _grass,
    "road": _road,
    "tree": _tree,
    "house": _house,
}

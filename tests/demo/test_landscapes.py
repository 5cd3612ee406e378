"""Drawn landscapes: every class is there, maps fit the images, the generator decides everything."""

from __future__ import annotations

import numpy as np
import pytest

from swinv2_dense.demo.landscapes import CLASSES, OTHER, Landscape, draw_close_up, draw_landscape

SIZE = (72, 96)


@pytest.fixture(scope="module")
def landscapes() -> list[Landscape]:
    rng = np.random.default_rng(0)
    return [draw_landscape(rng, SIZE) for _ in range(40)]


def test_images_and_maps_have_the_size_asked_for(landscapes: list[Landscape]) -> None:
    assert all(one.image.shape == (*SIZE, 3) and one.image.dtype == np.uint8 for one in landscapes)
    assert all(one.labels.shape == SIZE and one.labels.dtype == np.uint8 for one in landscapes)


def test_every_class_has_its_share(landscapes: list[Landscape]) -> None:
    counts = np.sum([np.bincount(one.labels.ravel(), minlength=OTHER + 1) for one in landscapes], axis=0)
    shares = counts / counts.sum()
    assert len(shares) == len(CLASSES) + 1
    assert shares[:OTHER].min() > 0.03
    assert 0 < shares[OTHER] < 0.03


def test_sky_is_above_and_land_below(landscapes: list[Landscape]) -> None:
    names = np.array([*CLASSES, "other"])
    for one in landscapes:
        assert (names[one.labels[0]] == "sky").mean() > 0.5
        assert not np.isin(names[one.labels[-1]], ["sky", "mountain", "sea", "other"]).any()


def test_colour_alone_does_not_tell_the_classes(landscapes: list[Landscape]) -> None:
    """The class with the nearest mean colour is wrong for much of the rest of the images."""
    pixels, labels = (
        np.concatenate([getattr(one, part).reshape(-1, *end) for one in landscapes])
        for part, end in (("image", (3,)), ("labels", ()))
    )
    means = np.array([pixels[labels == c].mean(axis=0) for c in range(OTHER)])
    named = ((pixels[::50, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert (named == labels[::50]).mean() < 0.6


def test_the_same_generator_gives_the_same_landscape() -> None:
    first, again, other = (draw_landscape(np.random.default_rng(seed), SIZE) for seed in (1, 1, 2))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, other.image)


def test_close_ups_show_every_class() -> None:
    rng = np.random.default_rng(0)
    close_ups = [draw_close_up(rng, 32) for _ in range(60)]
    assert all(image.shape == (32, 32, 3) and image.dtype == np.uint8 and image.std() > 3 for image, _ in close_ups)
    assert {category for _, category in close_ups} == set(range(len(CLASSES)))

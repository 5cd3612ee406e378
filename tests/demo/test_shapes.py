"""Drawn scenes: masks say what was painted, polygons say what the masks say, the generator decides everything."""

from __future__ import annotations

import numpy as np
import pytest

from swinv2_dense.demo.shapes import CLASSES, GROUNDS, Scene, draw_crop, draw_scene

SIZE = (96, 120)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rng = np.random.default_rng(0)
    return [draw_scene(rng, SIZE, 5, crowd=index % 3 == 0) for index in range(12)]


def test_images_are_uint8_bgr_of_the_size_asked_for(scenes: list[Scene]) -> None:
    assert all(s.image.shape == (*SIZE, 3) and s.image.dtype == np.uint8 for s in scenes)
    assert {s.ground for s in scenes} == set(range(len(GROUNDS)))
    assert {i.category for s in scenes for i in s.instances} == set(range(len(CLASSES)))


def test_no_pixel_belongs_to_two_instances(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert len(scene.instances) >= 3
        assert np.sum([i.fine_mask for i in scene.instances], axis=0).max() == 1


def test_polygons_cover_the_drawn_mask(scenes: list[Scene]) -> None:
    coco_mask = pytest.importorskip("pycocotools.mask", reason="pycocotools comes with the det extra")
    for instance in (i for s in scenes for i in s.instances if not i.crowd and i.mask.sum() > 50):
        polygons = [polygon.ravel().tolist() for polygon in instance.polygons()]
        drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *SIZE))).astype(bool)
        assert (drawn & instance.mask).sum() / (drawn | instance.mask).sum() > 0.85


def test_shapes_stand_out_from_the_ground(scenes: list[Scene]) -> None:
    for scene in scenes:
        ground = ~np.any([i.mask for i in scene.instances], axis=0)
        for instance in scene.instances:
            if instance.mask.sum() > 50:
                difference = scene.image[instance.mask].mean(axis=0) - scene.image[ground].mean(axis=0)
                assert np.linalg.norm(difference) > 40


def test_a_crowd_is_one_instance_of_many_parts(scenes: list[Scene]) -> None:
    assert [sum(i.crowd for i in s.instances) for s in scenes] == [1, 0, 0] * 4
    assert all(len(i.polygons()) >= 5 for s in scenes for i in s.instances if i.crowd)


def test_the_same_generator_gives_the_same_scene() -> None:
    first, again, other = (draw_scene(np.random.default_rng(seed), SIZE, 4).image for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_crops_show_every_class() -> None:
    rng = np.random.default_rng(0)
    crops = [draw_crop(rng, 32) for _ in range(40)]
    assert all(image.shape == (32, 32, 3) and image.dtype == np.uint8 and image.std() > 5 for image, _ in crops)
    assert {category for _, category in crops} == set(range(len(CLASSES)))

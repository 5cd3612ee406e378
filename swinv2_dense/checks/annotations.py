"""The objects of a COCO-format file: what is wrong with each, and how many of every class can be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from swinv2_dense.checks.coco_file import is_id
from swinv2_dense.checks.findings import Finding
from swinv2_dense.checks.segmentations import Problem, box_problem, is_empty, polygon_problem, run_lengths_problem
from swinv2_dense.files import shown
from swinv2_dense.progress import Progress, silent

__all__ = ["Counts", "Use", "check_objects"]

_EVERY = 10_000  # annotations between two reports of progress


@dataclass(frozen=True)
class Use:
    """What the annotations are for, which decides what they must have.

    Args:
        classes: names; the categories of other names are left out. None for all categories.
        masks: objects need masks.
        run_lengths: run lengths of single objects can be trained on, not only polygons.
        evaluated: pycocotools evaluates on them, which needs ``iscrowd`` and ``area`` of every object.
        smallest: an image whose shorter side is below so many pixels is left out.
        needs_objects: an image without objects is left out.
    """

    classes: Sequence[str] | None = None
    masks: bool = True
    run_lengths: bool = True
    evaluated: bool = True
    smallest: int = 0
    needs_objects: bool = False


@dataclass
class Counts:
    """What a file holds. ``objects`` and ``images_of`` count, by class, what training gets: no crowds, nothing that
    mmdet leaves out."""

    images: int = 0
    annotations: int = 0
    crowds: int = 0
    empty: int = 0  # images without annotations
    usable: int = 0  # images that are not left out
    without_mask: int = 0
    ignored_run_lengths: int = 0  # single objects that polygons are expected of
    objects: dict[str, int] = field(default_factory=dict)
    images_of: dict[str, int] = field(default_factory=dict)

    @property
    def without_objects(self) -> list[str]:
        """The classes that there is nothing to learn from, or to score."""
        return [name for name, count in self.objects.items() if count == 0]


def check_objects(
    content: dict[str, Any], file: str, use: Use, progress: Progress = silent
) -> tuple[list[Finding], Counts]:
    """Hold every annotation against its image.

    Args:
        content: as :func:`~swinv2_dense.checks.coco_file.read_coco` returns it.
        file: the annotation file, for the findings.
    """
    annotations = content["annotations"]
    names = {c["id"]: str(c.get("name")) for c in content["categories"] if is_id(c.get("id"))}
    chosen = set(names.values() if use.classes is None else use.classes)
    checker = _Checker(file, use, content["images"], names)
    objects = dict.fromkeys((name for name in names.values() if name in chosen), 0)
    images_of: dict[str, set[int]] = {name: set() for name in objects}
    annotated: set[int] = set()
    of_classes: set[int] = set()
    counts = Counts(len(content["images"]), len(annotations))
    for done, annotation in enumerate(annotations, start=1):
        trainable = checker.check(annotation)
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if type(image) is int:
            annotated.add(image)
            if type(category) is int and (name := names.get(category)) in objects:
                of_classes.add(image)
                if trainable:
                    objects[name] += 1
                    images_of[name].add(image)
        if done % _EVERY == 0 or done == len(annotations):
            progress("annotations", done, len(annotations))
    counts.crowds = checker.crowds
    counts.empty = len(checker.sizes.keys() - annotated)
    # mmdet's filter counts crowds and broken objects as objects.
    kept = checker.large & of_classes if use.needs_objects else checker.large
    counts.usable = len(kept)
    counts.objects, counts.images_of = objects, {name: len(ids) for name, ids in images_of.items()}
    counts.without_mask, counts.ignored_run_lengths = checker.without_mask, checker.ignored_run_lengths
    return checker.findings, counts


def _at_least(size: tuple[Any, Any], smallest: int) -> bool:
    return all(type(side) is int and smallest <= side < 1 << 31 for side in size)


class _Checker:
    """Checks one annotation after the other and keeps what it finds."""

    def __init__(self, file: str, use: Use, images: list[dict[str, Any]], names: dict[int, str]) -> None:
        self.file, self.use, self.names = file, use, names
        self.sizes: dict[int, tuple[Any, Any]] = {
            image["id"]: (image.get("height"), image.get("width")) for image in images if is_id(image.get("id"))
        }
        self.sound = {image for image, size in self.sizes.items() if _at_least(size, 1)}
        self.large = {image for image in self.sound if _at_least(self.sizes[image], use.smallest)}
        self.findings: list[Finding] = []
        self.crowds = self.without_mask = self.ignored_run_lengths = 0

    def check(self, annotation: dict[str, Any]) -> bool:
        """Note what is wrong; returns whether mmdet trains on the object."""
        category, image, crowd = annotation.get("category_id"), annotation.get("image_id"), annotation.get("iscrowd")
        if crowd:
            self.crowds += 1
        if type(category) is not int or category not in self.names:
            self._found(annotation, ("unknown category", f"category_id {shown(repr(category), 60)}", True))
            return False
        if type(image) is not int or image not in self.sound:
            self._found(annotation, ("unknown image, or one without a size", "", True))
            return False
        height, width = self.sizes[image]
        good = self._check_fields(annotation)
        if problem := box_problem(annotation.get("bbox"), height, width):
            self._found(annotation, problem)
            good = good and problem[0] == "box over the edge of the image"
        has_mask = self._check_mask(annotation, height, width)
        return good and has_mask and not crowd and image in self.large

    def _check_fields(self, annotation: dict[str, Any]) -> bool:
        """``iscrowd`` (0 where it is not evaluated), ``area``, ``ignore``."""
        crowd, area = annotation.get("iscrowd"), annotation.get("area")
        if crowd is None:
            self._found(annotation, ("no iscrowd", 'write "iscrowd": 0 for single objects', self.use.evaluated))
        elif crowd not in (0, 1):
            self._found(annotation, ("iscrowd neither 0 nor 1", shown(repr(crowd), 30), True))
        if not (isinstance(area, (int, float)) and -1 < area < 1e15):
            self._found(annotation, ("no area", f"area is {shown(repr(area), 30)}: write the mask's pixels", True))
            return False
        if area <= 0:
            self._found(annotation, ("area 0", "not trained on: write the mask's pixels", False))
            return False
        if self.use.evaluated and annotation.get("id") == 0:
            self._found(annotation, ("annotation id 0", "pycocotools counts its detection as wrong: begin at 1", False))
        return not annotation.get("ignore")

    def _check_mask(self, annotation: dict[str, Any], height: int, width: int) -> bool:
        segmentation, crowd = annotation.get("segmentation"), bool(annotation.get("iscrowd"))
        if not segmentation or not isinstance(segmentation, (list, dict)):
            self.without_mask += 1
            if self.use.masks:
                self._found(annotation, ("no mask", f"segmentation is {shown(repr(segmentation), 60)}", True))
            return not self.use.masks
        if isinstance(segmentation, list):
            sound = sum(self._check_polygon(annotation, polygon, height, width) for polygon in segmentation)
            sound = sound == len(segmentation)
            if crowd:
                self._found(annotation, ("crowd of polygons", "evaluation takes run lengths for crowds", True))
            return sound
        if problem := run_lengths_problem(segmentation, height, width):
            self._found(annotation, problem)
            return False
        if not crowd and self.use.masks:
            self.ignored_run_lengths += not self.use.run_lengths
            if is_empty(segmentation):
                self._found(annotation, ("empty mask", "not trained on", False))
                return False
            return self.use.run_lengths
        return True

    def _check_polygon(self, annotation: dict[str, Any], polygon: Any, height: int, width: int) -> bool:
        problem = polygon_problem(polygon, height, width)
        if problem is not None:
            self._found(annotation, problem)
        return problem is None or not problem[2]

    def _found(self, annotation: dict[str, Any], problem: Problem) -> None:
        kind, detail, serious = problem
        image, number = annotation.get("image_id"), annotation.get("id")
        self.findings.append(Finding(kind, self.file, detail, image=image, annotation=number, serious=serious))

"""Is a COCO folder complete and sound? Every entry that is not, by file and id. Nothing is changed.

ROOT/annotations/instances_SPLIT.json
ROOT/SPLIT/*.jpg
ROOT/stuffthingmaps/SPLIT/*.png   (only for HTC's semantic branch)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from swinv2_dense.checks.annotations import Counts, Use, check_objects
from swinv2_dense.checks.coco_file import MAX_PIXELS, AnnotationFileError, check_tables, leaves_folder, read_coco
from swinv2_dense.checks.findings import Finding
from swinv2_dense.checks.image_folders import images_below
from swinv2_dense.checks.images import check_image
from swinv2_dense.checks.overlap import in_both
from swinv2_dense.errors import UserError
from swinv2_dense.progress import Progress, counted, silent

__all__ = ["SplitReport", "check_coco", "check_coco_file"]

_IMAGES = "http://images.cocodataset.org"
_SOURCES = {
    "annotations": f"{_IMAGES}/annotations/annotations_trainval2017.zip",
    "train2017": f"{_IMAGES}/zips/train2017.zip",
    "val2017": f"{_IMAGES}/zips/val2017.zip",
    "stuffthingmaps": "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
}
_UNLABELLED = 255
_LARGEST_STUFF = 181  # category ids of COCO-Stuff go to 182, labels are one less


@dataclass
class SplitReport:
    """What one split holds and what is wrong with it."""

    split: str
    counts: Counts = field(default_factory=Counts)
    categories: tuple[str, ...] = ()
    maps: int = 0
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class _Options:
    deep: bool
    boxes_only: bool
    max_pixels: int
    progress: Progress


def check_coco(
    root: Path,
    splits: Sequence[str] = ("train2017", "val2017"),
    *,
    deep: bool = False,
    boxes_only: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: Progress = silent,
) -> list[SplitReport]:
    """Check every image, annotation and semantic map.

    Args:
        deep: read all pixels as well, not only the sizes in the files' headers: finds files that were cut off, and
            labels of semantic maps that do not exist. Takes minutes instead of seconds on COCO.
        boxes_only: objects need no masks.
        max_pixels: of one image.

    Raises:
        UserError: ``root`` is no folder.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder: unpack {', '.join(_SOURCES.values())} there")
    options = _Options(deep, boxes_only, max_pixels, progress)
    reports = [_check_split(root, split, options) for split in splits]
    for report in reports[1:]:
        report.findings += _shared(root, splits[0], report.split)
    known = [report for report in reports if report.categories]
    for report in known[1:]:
        if report.categories != known[0].categories:
            detail = f"{len(report.categories)} categories, other names or another order than {known[0].split}'s"
            report.findings.append(Finding("categories differ", _annotation_file(report.split), detail))
    return reports


def _shared(root: Path, first: str, split: str) -> Iterator[Finding]:
    """Images of two splits: scores on what was trained on say nothing."""
    folders = root / first, root / split
    if first == split or not all(folder.is_dir() for folder in folders):
        return
    one, other = (set(images_below(folder)) for folder in folders)
    for name in in_both(*folders, one & other):
        yield Finding(f"image of {first} as well", f"{split}/{name}", "scores on what was trained on say nothing")


def check_coco_file(
    file: Path,
    images: Path,
    *,
    deep: bool = False,
    boxes_only: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: Progress = silent,
) -> SplitReport:
    """As :func:`check_coco`, of one annotation file and its folder of images, wherever they are."""
    if not images.is_dir():
        raise UserError(f"{images} is no folder: name the one of the images with --images")
    report, options = SplitReport(file.stem), _Options(deep, boxes_only, max_pixels, progress)
    content = _check_file(file, str(file), report, options)
    if content is not None:
        report.findings += _check_images(images, str(images), content["images"], file.stem, options)
    return report


def _check_split(root: Path, split: str, options: _Options) -> SplitReport:
    report, file, maps = SplitReport(split), _annotation_file(split), f"stuffthingmaps/{split}"
    if not (root / split).is_dir():
        report.findings.append(_missing_folder(split, split))
    if not (root / maps).is_dir():
        report.findings.append(_missing_folder("stuffthingmaps", maps, serious=False))
    if not (root / file).is_file():
        report.findings.append(_missing_folder("annotations", file))
        return report
    content = _check_file(root / file, file, report, options)
    if content is None:
        return report
    if (root / split).is_dir():
        report.findings += _check_images(root / split, split, content["images"], split, options)
    if (root / maps).is_dir():
        report.maps = len(content["images"])
        report.findings += _check_maps(root / maps, maps, content["images"], split, options)
    return report


def _check_file(path: Path, file: str, report: SplitReport, options: _Options) -> dict[str, Any] | None:
    """The content of an annotation file, with what is wrong noted in the report; None where it cannot be read."""
    try:
        content = read_coco(path)
    except AnnotationFileError as error:
        report.findings.append(Finding(error.kind, file, error.detail))
        return None
    report.categories = tuple(str(category.get("name")) for category in content["categories"])
    report.findings += check_tables(content, file, options.max_pixels)
    use = Use(masks=not options.boxes_only)
    findings, report.counts = check_objects(
        content, file, use, lambda step, *done: options.progress(f"{report.split}: {step}", *done)
    )
    report.findings += findings
    if content["annotations"] and not any(report.counts.objects.values()):
        report.findings.append(Finding("no object to train on", file, "all are crowds, or noted here"))
    return content


def _annotation_file(split: str) -> str:
    return f"annotations/instances_{split}.json"


def _missing_folder(source: str, file: str, serious: bool = True) -> Finding:
    advice = [] if serious else ["only the semantic branch of HTC needs it"]
    advice += [f"get {_SOURCES[source]}"] if source in _SOURCES else []
    return Finding("missing", file, "; ".join(advice), serious=serious)


def _inside(images: Sequence[dict[str, Any]], step: str, progress: Progress) -> Iterator[tuple[dict[str, Any], str]]:
    """Images with their names; those without a name below their folder, which were found before, are left out."""
    for image in counted(images, step, progress, every=1000):
        name = image.get("file_name")
        if isinstance(name, str) and name and not leaves_folder(name):
            yield image, name


def _check_images(
    folder: Path, shown: str, images: Sequence[dict[str, Any]], split: str, options: _Options
) -> Iterator[Finding]:
    for image, name in _inside(images, f"{split}: images", options.progress):
        yield from check_image(
            folder / name,
            f"{shown}/{name}",
            (image.get("height"), image.get("width")),
            image=image.get("id"),
            pixels=options.deep,
            max_pixels=options.max_pixels,
        )


def _check_maps(
    folder: Path, shown: str, images: Sequence[dict[str, Any]], split: str, options: _Options
) -> Iterator[Finding]:
    for image, name in _inside(images, f"{split}: semantic maps", options.progress):
        path = folder / Path(name).with_suffix(".png")
        file, size = f"{shown}/{Path(name).with_suffix('.png')}", (image.get("height"), image.get("width"))
        before = list(
            check_image(
                path,
                file,
                size,
                image=image.get("id"),
                is_map=True,
                pixels=options.deep,
                max_pixels=options.max_pixels,
            )
        )
        yield from before
        if options.deep and not before:
            with Image.open(path) as labels_on_disk:
                labels = np.unique(np.asarray(labels_on_disk))
            wrong = labels[(labels > _LARGEST_STUFF) & (labels != _UNLABELLED)]
            if len(wrong):
                yield Finding("unknown label in a semantic map", file, f"label {wrong[0]}", image=image.get("id"))

"""Is a COCO folder complete and sound? Every entry that is not, by file and id. Nothing is changed.

ROOT/annotations/instances_SPLIT.json
ROOT/SPLIT/*.jpg
ROOT/stuffthingmaps/SPLIT/*.png   (only for HTC's semantic branch)
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from swinv2_dense.errors import UserError
from swinv2_dense.progress import Progress, counted, silent

__all__ = ["Finding", "SplitReport", "check_coco"]

_IMAGES = "http://images.cocodataset.org"
_SOURCES = {
    "annotations": f"{_IMAGES}/annotations/annotations_trainval2017.zip",
    "train2017": f"{_IMAGES}/zips/train2017.zip",
    "val2017": f"{_IMAGES}/zips/val2017.zip",
    "stuffthingmaps": "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
}
_UNLABELLED = 255
_LARGEST_STUFF = 181  # category ids of COCO-Stuff go to 182, labels are one less
_SLACK = 1.0  # pixels that annotations may reach over the edge: COCO's own do


@dataclass(frozen=True)
class Finding:
    """One entry that is not as it should be.

    ``kind`` groups findings. Not ``serious`` are those that training copes with by leaving the entry out.
    """

    kind: str
    file: str  # relative to the root
    detail: str = ""
    image: object = None  # ids in the annotation file
    annotation: object = None
    serious: bool = True

    def __str__(self) -> str:
        ids = [f"{name} {value}" for name in ("image", "annotation") if (value := getattr(self, name)) is not None]
        return ": ".join(part for part in (self.file, ", ".join(ids), self.detail) if part)


@dataclass
class SplitReport:
    """What one split holds and what is wrong with it."""

    split: str
    images: int = 0
    annotations: int = 0
    crowds: int = 0
    empty: int = 0  # images without annotations
    categories: tuple[str, ...] = ()
    maps: int = 0
    findings: list[Finding] = field(default_factory=list)


def check_coco(
    root: Path,
    splits: Sequence[str] = ("train2017", "val2017"),
    *,
    deep: bool = False,
    progress: Progress = silent,
) -> list[SplitReport]:
    """Look every image, annotation and semantic map over.

    Args:
        deep: read all pixels as well, not only the sizes in the files' headers: finds files that were cut off, and
            labels of semantic maps that do not exist. Takes minutes instead of seconds on COCO.

    Raises:
        UserError: ``root`` is no folder.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder: unpack {', '.join(_SOURCES.values())} there")
    reports = [_check_split(root, split, deep, progress) for split in splits]
    known = [report for report in reports if report.categories]
    for report in known[1:]:
        if report.categories != known[0].categories:
            detail = f"{len(report.categories)} categories, other names or another order than {known[0].split}'s"
            report.findings.append(Finding("categories differ", _annotation_file(report.split), detail))
    return reports


def _check_split(root: Path, split: str, deep: bool, progress: Progress) -> SplitReport:
    report, file, maps = SplitReport(split), _annotation_file(split), f"stuffthingmaps/{split}"
    if not (root / split).is_dir():
        report.findings.append(_missing_folder(split, split))
    if not (root / maps).is_dir():
        report.findings.append(_missing_folder("stuffthingmaps", maps, serious=False))
    content = _load(root, file, report.findings)
    if content is None:
        return report
    images, categories, annotations = content["images"], content["categories"], content["annotations"]
    report.images, report.annotations = len(images), len(annotations)
    report.crowds = sum(bool(annotation.get("iscrowd")) for annotation in annotations)
    report.empty = len({i.get("id") for i in images} - {a.get("image_id") for a in annotations})
    report.categories = tuple(str(category.get("name")) for category in categories)
    for key in ("images", "categories", "annotations"):
        repeated = [i for i, count in Counter(entry.get("id") for entry in content[key]).items() if count > 1]
        report.findings += [Finding(f"id of {key} not unique", file, f"id {i}") for i in repeated]
    names = [name for name, count in Counter(report.categories).items() if count > 1]
    report.findings += [Finding("category name not unique", file, name) for name in names]
    sizes = {image.get("id"): (image.get("height"), image.get("width")) for image in images}
    known = {category.get("id") for category in categories}
    for annotation in counted(annotations, f"{split}: annotations", progress, every=1000):
        report.findings += _check_annotation(annotation, file, sizes, known)
    if (root / split).is_dir():
        report.findings += _check_images(root, split, images, deep, progress)
    if (root / maps).is_dir():
        report.maps = len(images)
        report.findings += _check_maps(root, split, images, deep, progress)
    return report


def _annotation_file(split: str) -> str:
    return f"annotations/instances_{split}.json"


def _missing_folder(source: str, file: str, serious: bool = True) -> Finding:
    advice = [] if serious else ["only the semantic branch of HTC needs it"]
    advice += [f"get {_SOURCES[source]}"] if source in _SOURCES else []
    return Finding("missing", file, "; ".join(advice), serious=serious)


def _load(root: Path, file: str, findings: list[Finding]) -> dict[str, Any] | None:
    if not (root / file).is_file():
        findings.append(_missing_folder("annotations", file))
        return None
    try:
        content = json.loads((root / file).read_bytes())
    except ValueError as error:
        findings.append(Finding("not valid JSON", file, f"{error}: it was cut off, or is another file"))
        return None
    for key in ("images", "categories", "annotations"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            findings.append(Finding("not COCO's format", file, f"has no list of objects {key!r}"))
            return None
    return content


def _check_annotation(
    annotation: dict[str, Any], file: str, sizes: dict[Any, tuple[Any, Any]], categories: set[Any]
) -> Iterator[Finding]:
    image = annotation.get("image_id")

    def found(kind: str, detail: str = "", serious: bool = True) -> Finding:
        return Finding(kind, file, detail, image=image, annotation=annotation.get("id"), serious=serious)

    if annotation.get("category_id") not in categories:
        yield found("unknown category", f"category_id {annotation.get('category_id')}")
    if image not in sizes or not all(isinstance(side, int) and side > 0 for side in sizes[image]):
        yield found("unknown image, or one without a size")
        return
    height, width = sizes[image]
    box = _numbers(annotation.get("bbox"))
    if len(box) != 4:
        yield found("box not x, y, width, height", repr(annotation.get("bbox")))
    elif min(box[2:]) < 1:
        yield found("box below one pixel", f"{box[2]} x {box[3]}: not trained on", serious=False)
    elif not _is_inside([*box[:2], box[0] + box[2], box[1] + box[3]], height, width):
        yield found("box outside the image", f"{box}, image {width} x {height}")
    if not isinstance(annotation.get("area"), (int, float)):
        yield found("no area")
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list):
        yield from _check_polygons(segmentation, height, width, bool(annotation.get("iscrowd")), found)
    elif isinstance(segmentation, dict):
        yield from _check_run_lengths(segmentation, height, width, found)
    else:
        yield found("no mask", f"segmentation is {segmentation!r}")


def _numbers(values: object) -> list[float]:
    """A list of finite numbers as it is, anything else as an empty list."""
    if isinstance(values, list) and all(isinstance(v, (int, float)) and math.isfinite(v) for v in values):
        return values
    return []


def _is_inside(points: Sequence[float], height: int, width: int) -> bool:
    """Whether points x y x y ... are in the picture."""
    xs, ys = points[::2], points[1::2]
    return min(*xs, *ys) >= -_SLACK and max(xs) <= width + _SLACK and max(ys) <= height + _SLACK


def _check_polygons(
    polygons: list[Any], height: int, width: int, crowd: bool, found: Callable[..., Finding]
) -> Iterator[Finding]:
    if not polygons:
        yield found("no mask", "no polygon")
    if crowd:
        yield found("crowd of polygons", "evaluation takes run lengths for crowds")
    for number, polygon in enumerate(polygons, start=1):
        if len(_numbers(polygon)) < 6 or len(polygon) % 2:
            size = f"{len(polygon)} numbers" if isinstance(polygon, list) else repr(polygon)
            yield found("broken polygon", f"polygon {number} of {len(polygons)}: {size}, needs 3 or more pairs")
        elif not _is_inside(polygon, height, width):
            yield found("polygon outside the image", f"polygon {number} of {len(polygons)}, image {width} x {height}")


def _check_run_lengths(
    segmentation: dict[str, Any], height: int, width: int, found: Callable[..., Finding]
) -> Iterator[Finding]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        yield found("run lengths of another size", f"{size}, image {[height, width]} (height, width)")
    else:
        runs = _decompress(counts) if isinstance(counts, str) else _numbers(counts)
        if not runs or min(runs) < 0 or sum(runs) != height * width:
            yield found("broken run lengths", f"they do not add up to {height} x {width} pixels")


def _decompress(text: str) -> list[int]:
    """Run lengths from pycocotools' text, whose own decoder takes any text; empty where it is none.

    A number is written in digits of 5 bits, the lowest first, each as a character from '0' on; 32 is added to all but
    its last digit, whose highest bit is the sign. From the fourth number on, it is the difference to the one before the
    last.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            return []
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            value -= (digit & 16) << (shift - 4)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return [] if shift else runs


def _check_images(
    root: Path, split: str, images: Sequence[dict[str, Any]], deep: bool, progress: Progress
) -> Iterator[Finding]:
    for image in counted(images, f"{split}: images", progress, every=1000):
        file, size = f"{split}/{image.get('file_name')}", (image.get("height"), image.get("width"))
        yield from _check_picture(root, file, image.get("id"), size, deep)


def _check_maps(
    root: Path, split: str, images: Sequence[dict[str, Any]], deep: bool, progress: Progress
) -> Iterator[Finding]:
    for image in counted(images, f"{split}: semantic maps", progress, every=1000):
        name = Path(str(image.get("file_name"))).with_suffix(".png")
        file, size = f"stuffthingmaps/{split}/{name}", (image.get("height"), image.get("width"))
        before = list(_check_picture(root, file, image.get("id"), size, deep, mode="L"))
        yield from before
        if deep and not before:
            with Image.open(root / file) as picture:
                labels = np.unique(np.asarray(picture))
            wrong = labels[(labels > _LARGEST_STUFF) & (labels != _UNLABELLED)]
            if len(wrong):
                yield Finding("unknown label in a semantic map", file, f"label {wrong[0]}", image=image.get("id"))


def _check_picture(
    root: Path, file: str, image: object, size: tuple[Any, Any], deep: bool, mode: str | None = None
) -> Iterator[Finding]:
    """A file that exists, is a picture, and as large as annotated. ``mode``: PIL's name of what its pixels must be."""
    path = root / file
    if not path.is_file():
        yield Finding("missing file", file, image=image)
        return
    try:
        with Image.open(path) as picture:
            if deep:
                picture.load()
            (width, height), found_mode = picture.size, picture.mode
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        yield Finding("not a whole picture", file, str(error).replace(f"'{path}'", "it"), image=image)
        return
    if (height, width) != size:
        yield Finding(
            "another size than annotated", file, f"{width} x {height}, not {size[1]} x {size[0]}", image=image
        )
    if mode and found_mode != mode:
        yield Finding("semantic map not 8-bit grey", file, f"PIL calls it {found_mode!r}", image=image)

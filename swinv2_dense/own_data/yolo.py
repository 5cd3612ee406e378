"""Boxes and polygons in YOLO's format: a data.yaml, and a text file of labels for each image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown
from swinv2_dense.own_data.samples import SPLITS, Found, Sample, common_folder, find_images, image_size
from swinv2_dense.own_data.yolo_labels import LabelFiles
from swinv2_dense.suffixes import IMAGES

__all__ = ["find_yaml", "read_yolo"]

_SLACK = 1e-3  # of the image: what exports round beyond its edge


def find_yaml(folder: Path) -> Path | None:
    """The data.yaml of a folder, whatever its name: a YAML file that names classes."""
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")], key=lambda path: path.stem != "data"):
        content, _ = _load(path)
        if isinstance(content, dict) and ("names" in content or "nc" in content):
            return path
    return None


def _load(path: Path) -> tuple[Any, Any]:
    """The values in a file, and the nodes that they are made of, which keep them as they are written."""
    try:
        loader = yaml.SafeLoader(read_text(path))
        root = loader.get_single_node()
        return None if root is None else loader.construct_document(root), root
    except yaml.YAMLError as error:
        raise UserError(f"{shown(path)} is no valid YAML: {error}") from error


def read_yolo(path: Path) -> Found:
    """Read what a data.yaml names: boxes ``class x y w h``, polygons ``class x y x y ...``, relative to the image.

    Of key points, which ``kpt_shape`` announces, the boxes before them are read.

    Raises:
        UserError: a class, a line, or a place of images that does not fit, naming the file.
    """
    content, root = _load(path)
    names, points = _names(content, root, path), _key_points(content, path)
    splits: dict[str, list[Sample]] = {}
    notes: list[str] = []
    files = LabelFiles()
    keys = {str(key).lower(): key for key, entry in content.items() if entry}
    for split, called in SPLITS.items():
        key = next((keys[name] for name in called if name in keys), None)
        if key is None:
            continue
        images = list(_images(content[key], content, path))
        if not images:
            raise UserError(
                f"{shown(path)}: there are no images in {key}: {content[key]}; correct the path, or add them"
            )
        splits[split] = [_sample(image, files.of(image), names, points) for image in images]
        notes += files.missing(images, f"{shown(path)}, {key}")
    if not splits.get("train"):
        raise UserError(f"{shown(path)} names no images to train on: give train: a folder of images")
    notes += files.left_over()
    if points:
        notes.append("key points are left out: only the boxes are trained on")
    found = Found("YOLO", common_folder(splits), list(names.values()), splits, notes)
    objects = [o for samples in splits.values() for sample in samples for o in sample.objects]
    found.masks = bool(objects) and all("segmentation" in o for o in objects)
    return found


def _names(content: Any, root: Any, path: Path) -> dict[int, str]:
    names = content.get("names") if isinstance(content, dict) else None
    if names is None and isinstance(content, dict) and isinstance(content.get("nc"), int):
        return {index: f"class {index}" for index in range(content["nc"])}
    if not names or not isinstance(names, list | dict):
        raise UserError(f"{shown(path)} names no classes: give names: a list, or index: name")
    found: dict[int, str] = {}
    for index, node in _written_names(root):
        text = node.value.strip() if isinstance(node, yaml.ScalarNode) and not node.tag.endswith(":null") else ""
        if not index.isdecimal():
            raise UserError(f"{shown(path)}: names has {shown(index)!r} for an index: give a list, or index: name")
        if not text:
            raise UserError(f"{shown(path)}: names gives no name for class {index}: write one, in quotes if it is null")
        if text in found.values():
            raise UserError(f"{shown(path)} names two classes {text!r}: rename or merge them")
        if int(index) in found:
            raise UserError(f"{shown(path)} names class {index} twice, {found[int(index)]!r} and {text!r}: correct it")
        found[int(index)] = text
    return dict(sorted(found.items()))


def _written_names(root: Any) -> list[tuple[str, yaml.Node]]:
    """Index and name of the classes as they are written, as YAML takes yes and no for True and False."""
    names = [value for key, value in root.value if key.value == "names"][-1]
    if isinstance(names, yaml.SequenceNode):
        return [(str(index), value) for index, value in enumerate(names.value)]
    return [(str(key.value), value) for key, value in names.value]


def _key_points(content: Any, path: Path) -> int:
    """How many numbers of key points follow a box: kpt_shape is how many points there are, of how many numbers."""
    shape = content.get("kpt_shape")
    if not shape:
        return 0
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
        raise UserError(f"{shown(path)}: kpt_shape is {shape}, not [points, 2 or 3]: correct or remove it")
    return int(shape[0] * shape[1])


def _images(entry: Any, content: dict[str, Any], path: Path) -> Iterator[Path]:
    """The images of a split: of a folder, of a list of paths in a text file, or of several of these."""
    for part in entry if isinstance(entry, list) else [entry]:
        place = _place(str(part), content, path)
        if place.is_dir():
            yield from find_images(place)
        elif place.suffix.lower() == ".txt":
            roots = [place.parent, *_roots(content, path)]
            for line in filter(None, map(str.strip, read_text(place).splitlines())):
                image = next((root / line for root in roots if (root / line).is_file()), place.parent / line)
                if not image.is_file() or image.suffix.lower() not in IMAGES:
                    raise UserError(f"{shown(place)}: {line} is no image: correct the list, or add it")
                yield _named(image)
        else:
            raise UserError(f"{shown(path)}: {part} is neither a folder of images nor a .txt list of them")


def _roots(content: dict[str, Any], path: Path) -> list[Path]:
    return [path.parent / str(content.get("path") or ""), path.parent]


def _place(part: str, content: dict[str, Any], path: Path) -> Path:
    """Where a split is, tried in the ways that exporters mean it: Roboflow writes ../train/images for train/images."""
    roots = _roots(content, path)
    for root in roots:
        for name in (part, part.removeprefix("../")):
            if (root / name).exists():
                return _named(root / name)
    raise UserError(f"{shown(path)}: {part} does not exist below {shown(roots[0])}: correct the path in the file")


def _named(path: Path) -> Path:
    """Absolute and without ``..``; links stay, as labels lie where the names of images lead."""
    tidy = Path(os.path.abspath(path))
    return tidy if tidy.exists() and tidy.samefile(path) else path.resolve()  # a link before .. leads elsewhere


def _sample(image: Path, labels: Path | None, names: dict[int, str], points: int) -> Sample:
    sample = Sample(image, size=image_size(image))
    if labels is not None:  # no file: nothing in the image
        for number, line in enumerate(read_text(labels).splitlines(), start=1):
            if line.strip():
                where = f"{labels}, line {number}"
                sample.objects.append(_object(line.split(), sample.size or (0, 0), names, points, where))
    sample.classes = [o["category"] for o in sample.objects]
    return sample


def _object(fields: list[str], size: tuple[int, int], names: dict[int, str], points: int, where: str) -> dict[str, Any]:
    try:
        index, values = int(fields[0]), [float(value) for value in fields[1:]]
    except ValueError:
        raise UserError(f"{where}: {' '.join(fields[:6])!r} is no class index with coordinates") from None
    if index not in names:
        raise UserError(f"{where}: class {index} is none of the {len(names)} that data.yaml names: correct either")
    if points:
        if len(values) not in (4, 4 + points):
            raise UserError(
                f"{where}: {len(values)} numbers are no box (4) with the {points} of key points that kpt_shape says: "
                "correct either"
            )
        values = values[:4]
    if not all(-_SLACK <= value <= 1 + _SLACK for value in values):
        raise UserError(f"{where}: coordinates must be relative to the image, from 0 to 1: divide by its size")
    height, width = size
    if len(values) == 4:
        x, y, w, h = values
        left, top = max(0.0, x - w / 2), max(0.0, y - h / 2)
        right, bottom = min(1.0, x + w / 2), min(1.0, y + h / 2)
        box = [left * width, top * height, (right - left) * width, (bottom - top) * height]
        return {"category": names[index], "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
    if len(values) < 6 or len(values) % 2:
        raise UserError(f"{where}: {len(values)} coordinates are neither a box (4) nor a polygon (6, 8, ...)")
    xs = [min(1.0, max(0.0, x)) * width for x in values[::2]]
    ys = [min(1.0, max(0.0, y)) * height for y in values[1::2]]
    polygon = [value for point in zip(xs, ys, strict=True) for value in point]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    area = abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2
    return {"category": names[index], "bbox": box, "area": area, "iscrowd": 0, "segmentation": [polygon]}

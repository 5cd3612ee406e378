"""Boxes and polygons in YOLO's format: a data.yaml, and a text file of labels for each image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown
from swinv2_dense.own_data.samples import IMAGES, Found, Sample, common_folder, find_images, image_size

__all__ = ["find_yaml", "read_yolo"]

_SLACK = 1e-3  # of the image: what exports round beyond its edge


def find_yaml(folder: Path) -> Path | None:
    """The data.yaml of a folder, whatever its name: a YAML file that names classes."""
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")], key=lambda path: path.stem != "data"):
        if isinstance(content := _load(path), dict) and ("names" in content or "nc" in content):
            return path
    return None


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise UserError(f"{shown(path)} is no valid YAML: {error}") from error


def read_yolo(path: Path) -> Found:
    """Read what a data.yaml names: boxes ``class x y w h``, polygons ``class x y x y ...``, relative to the image.

    Raises:
        UserError: a class, a line, or a place of images that does not fit, naming the file.
    """
    content = _load(path)
    names = _names(content, path)
    splits = {}
    for split, keys in {"train": ("train",), "val": ("val", "valid", "test")}.items():
        entry = next((content[key] for key in keys if content.get(key)), None)
        if entry is not None:
            splits[split] = [_sample(image, names) for image in _images(entry, content, path)]
    if not splits.get("train"):
        raise UserError(f"{shown(path)} names no images to train on: give train: a folder of images")
    found = Found("YOLO", common_folder(splits), list(names.values()), splits)
    objects = [o for samples in splits.values() for sample in samples for o in sample.objects]
    found.masks = bool(objects) and all("segmentation" in o for o in objects)
    return found


def _names(content: Any, path: Path) -> dict[int, str]:
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if names is None and isinstance(content, dict) and isinstance(content.get("nc"), int):
        names = {index: f"class {index}" for index in range(content["nc"])}
    if not isinstance(names, dict) or not names or not all(isinstance(index, int) for index in names):
        raise UserError(f"{shown(path)} names no classes: give names: a list, or index: name")
    return {index: str(names[index]) for index in sorted(names)}


def _images(entry: Any, content: dict[str, Any], path: Path) -> Iterator[Path]:
    """The images of a split: of a folder, of a list of paths in a text file, or of several of these."""
    for part in entry if isinstance(entry, list) else [entry]:
        place = _place(str(part), content, path)
        if place.is_dir():
            yield from find_images(place)
        elif place.suffix == ".txt":
            for line in filter(None, map(str.strip, read_text(place).splitlines())):
                yield place.parent / line.removeprefix("./") if not Path(line).is_absolute() else Path(line)
        else:
            raise UserError(f"{shown(path)}: {part} is neither a folder of images nor a .txt list of them")


def _place(part: str, content: dict[str, Any], path: Path) -> Path:
    """Where a split is, tried in the ways that exporters mean it: Roboflow writes ../train/images for train/images."""
    roots = [path.parent / str(content.get("path") or ""), path.parent]
    for root in roots:
        for name in (part, part.removeprefix("../")):
            if (root / name).exists():
                return (root / name).resolve()
    raise UserError(f"{shown(path)}: {part} does not exist below {shown(roots[0])}: correct the path in the file")


def _labels_of(image: Path) -> Path:
    """The label file: in the folder labels that mirrors the last folder images of the path, or beside the image."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        place = len(parts) - 2 - parts[-2::-1].index("images")
        parts[place] = "labels"
    return Path(*parts).with_suffix(".txt")


def _sample(image: Path, names: dict[int, str]) -> Sample:
    if not image.is_file() or image.suffix.lower() not in IMAGES:
        raise UserError(f"{shown(image)} is no image, although the YOLO data name it: correct the list, or add it")
    sample = Sample(image.resolve(), size=image_size(image))
    labels = _labels_of(image)
    if labels.is_file():  # no file: nothing in the image
        for number, line in enumerate(read_text(labels).splitlines(), start=1):
            if line.strip():
                sample.objects.append(_object(line.split(), sample.size or (0, 0), names, f"{labels}, line {number}"))
    sample.classes = [o["category"] for o in sample.objects]
    return sample


def _object(fields: list[str], size: tuple[int, int], names: dict[int, str], where: str) -> dict[str, Any]:
    try:
        index, values = int(fields[0]), [float(value) for value in fields[1:]]
    except ValueError:
        raise UserError(f"{where}: {' '.join(fields[:6])!r} is no class index with coordinates") from None
    if index not in names:
        raise UserError(f"{where}: class {index} is none of the {len(names)} that data.yaml names: correct either")
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

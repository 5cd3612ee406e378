"""Small data sets in the formats that users bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 60


def image(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(len(path.name))
    assert cv2.imwrite(str(path), generator.integers(0, 255, (*size, 3), np.uint8))
    return path


def yolo(root: Path, labels: dict[str, str], names: str = "names: [cat, dog]", folder: str = "train") -> Path:
    """ROOT/data.yaml with an image and its label file for each entry of ``labels``."""
    for name, text in labels.items():
        image(root / "images" / folder / f"{name}.jpg")
        place = root / "labels" / folder / f"{name}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    path = root / "data.yaml"
    path.write_text(f"train: images/{folder}\n{names}\n")
    return path


def voc(root: Path, objects: dict[str, str], places: tuple[str, str] = ("Annotations", "JPEGImages")) -> Path:
    """``objects``: name of an image -> its <object> elements."""
    for name, text in objects.items():
        image(root / places[1] / f"{name}.jpg")
        path = root / places[0] / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<annotation><filename>{name}.jpg</filename>{text}</annotation>")
    return root


def voc_object(name: str, box: tuple[int, int, int, int], difficult: int = 0) -> str:
    sides = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object>"


def coco(path: Path, images: dict[str, list[str]], *, masks: bool = True, folder: str = "") -> Path:
    """``images``: file name -> the categories of its objects; every object is the same rectangle."""
    names = [*dict.fromkeys(name for objects in images.values() for name in objects), "never"]
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 7 * k, "name": n} for k, n in enumerate(names, 1)],
    }
    for number, (file_name, objects) in enumerate(images.items(), start=1):
        image(path.parent / folder / file_name)
        content["images"].append({"id": number, "file_name": file_name, "height": HEIGHT, "width": WIDTH})
        for name in objects:
            entry = {"bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0, "image_id": number}
            entry |= {"id": len(content["annotations"]) + 1, "category_id": 7 * (names.index(name) + 1)}
            if masks:
                entry["segmentation"] = [[10, 10, 30, 10, 30, 30, 10, 30]]
            content["annotations"].append(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def maps(root: Path, values: dict[str, list[int]], *, palette: bool = False, colour: bool = False) -> Path:
    """ROOT/images and ROOT/masks; a map has a band of each of its ``values``."""
    for name, bands in values.items():
        image(root / "images" / f"{name}.jpg")
        band = np.repeat(np.array(bands), -(-HEIGHT // len(bands)))[:HEIGHT, None]
        stored = np.broadcast_to(band, (HEIGHT, WIDTH)).astype(np.uint8)
        path = root / "masks" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(stored)
        if palette:
            picture.putpalette([(k * 37) % 256 for k in range(768)])
        if colour:
            picture = Image.fromarray(np.stack([stored, 255 - stored, np.zeros_like(stored)], axis=-1))
        picture.save(path)
    return root


def class_folders(root: Path, counts: dict[str, int], suffix: str = ".jpg") -> Path:
    for name, count in counts.items():
        for number in range(count):
            image(root / name / f"{number}{suffix}")
    return root

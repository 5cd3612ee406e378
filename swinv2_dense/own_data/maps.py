"""Images and index maps for segmentation: which file belongs to which, and what the values of the maps mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from swinv2_dense.checks.images import is_deep
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown, write_image
from swinv2_dense.own_data.lists import split_by_lists
from swinv2_dense.own_data.names import Legend, find_legend
from swinv2_dense.own_data.samples import SPLITS, Found, Sample, find_images, image_size, split_folders
from swinv2_dense.progress import Progress, counted, silent

__all__ = ["read_maps", "write_maps"]

_IMAGE_FOLDERS = ("images", "JPEGImages", "imgs", "image", "img", "leftImg8bit", "photos")
_MAP_FOLDERS = (
    *("annotations", "masks", "maps", "labels", "SegmentationClass", "segmentation", "mask", "seg"),
    *("gtFine", "stuffthingmaps"),  # of Cityscapes and of COCO-Stuff
)
# What map files have in their names besides the image's.
_ENDINGS = ("", "_mask", "_label", "_labels", "_seg", "_segmentation", "_gt", "_L", "_labelIds", "-mask", "_annotation")
_TESTS = ("test", "testing")
_IGNORED, _MOST_CLASSES = 255, 254


@dataclass(frozen=True)
class _Values:
    """What the maps hold. ``table``: value -> index as stored for training, 0 for ignored, 1 to the classes' number."""

    table: dict[int, int]
    classes: list[str]
    colours: bool


def read_maps(
    folder: Path, *, ignore: Sequence[int] | None = None, progress: Progress = silent
) -> tuple[Found, _Values]:
    """Read a folder of images and index maps, in one folder each, with folders of splits inside or outside.

    Maps are PNG, BMP or TIFF of one channel, or with a palette, whose indices are the values; colour maps need a legend
    (:mod:`~swinv2_dense.own_data.names`). Which value is which class:

    - as the legend says, where the folder has one with numbers or colours;
    - a legend without numbers names the values from 0 on; from 1 on, 0 being 'other', where the greatest value is their
      number; any other greatest value is a mistake;
    - without a legend every value is a class.

    Values in ``ignore`` are not trained on, nor is 255 unless the legend numbers it.

    Raises:
        UserError: an image without map, other sizes, or values that the legend does not know.
    """
    splits = _pairs(folder.absolute())
    samples = [sample for part in splits.values() for sample in part]
    legend = find_legend(folder)
    held: dict[int, list[int]] = {}
    colours = legend is not None and legend.colours
    for index, sample in enumerate(counted(samples, "reading maps", progress, every=20)):
        values = _read(sample, colours)
        sample.size = (values.shape[0], values.shape[1])
        held[index] = np.unique(values).tolist()
    everywhere = sorted({value for values in held.values() for value in values})
    meaning = _meaning(everywhere, legend, ignore, folder)
    for index, sample in enumerate(samples):
        sample.classes = [meaning.classes[meaning.table[v] - 1] for v in held[index] if meaning.table.get(v)]
    used = {name for sample in samples for name in sample.classes}
    found = Found("images and index maps", folder.absolute(), meaning.classes, splits, masks=True)
    ignored = [value for value in everywhere if not meaning.table.get(value)]
    found.notes.append(
        f"values {_listed(ignored)} of the maps are not trained on" if ignored else "no value is ignored"
    )
    if legend is not None and not legend.numbered:
        named = [f"{value} {meaning.classes[index - 1]}" for value, index in meaning.table.items()]
        found.notes.append(f"values of the maps by the lines of {legend.path.name}: {_listed(named)}")
    if unused := [name for name in meaning.classes if name not in used]:
        found.notes.append(f"{len(unused)} classes are in no map: {_listed(unused)}")
    return found, meaning


def write_maps(found: Found, values: _Values, folder: Path, progress: Progress = silent) -> None:
    """Write the maps as ``LoadIndexMap`` reads them, 0 for ignored and 1 to the number of classes, and point to them.

    A map is named after its whole image, NAME.jpg.png, because images of one data set may have several suffixes.
    """
    samples = [sample for part in found.splits.values() for sample in part]
    for sample in counted(samples, "writing maps", progress, every=20):
        stored = _read(sample, values.colours)
        known, inverse = np.unique(stored, return_inverse=True)
        table = np.array([values.table.get(int(value), 0) for value in known], np.uint8)
        sample.map = folder / f"{sample.path.relative_to(found.root).as_posix()}.png"
        write_image(sample.map, table[inverse].reshape(stored.shape))


def _pairs(folder: Path) -> dict[str, list[Sample]]:
    """Samples by split: images/train beside maps/train, or train/images beside train/maps, or no split at all."""
    splits: dict[str, list[Sample]] = {}
    for split in SPLITS:
        for root in split_folders(folder, split):
            images, maps = _subfolder(root, _IMAGE_FOLDERS), _subfolder(root, _MAP_FOLDERS)
            if split not in splits and images is not None and (maps is not None or split == "train"):
                splits[split] = _paired(*_both(root))
    if "train" in splits:
        return splits
    images, maps = _both(folder)
    for split in SPLITS:
        if (pair := _same_split(images, maps, split)) is not None:
            splits[split] = _paired(*pair)
    if "train" in splits:
        return splits
    lists = folder / "ImageSets" / "Segmentation"
    samples = _paired(images, maps, some=lists.is_dir())
    by_name = {sample.path.relative_to(images).with_suffix("").as_posix(): sample for sample in samples}
    return split_by_lists(by_name, lists) or {"train": samples}


def _same_split(images: Path, maps: Path, split: str) -> tuple[Path, Path] | None:
    """A split's folders of images and of maps: of one name, or else of names that mean the same."""
    pairs = [(one, other) for one in split_folders(images, split) for other in split_folders(maps, split)]
    meant = [(a.name.lower(), b.name.lower()) for a, b in pairs]
    same = [pair for pair, (a, b) in zip(pairs, meant, strict=True) if a == b]
    alike = [pair for pair, (a, b) in zip(pairs, meant, strict=True) if (a in _TESTS) == (b in _TESTS)]
    return next(iter(same + alike), None)


def _both(folder: Path) -> tuple[Path, Path]:
    images, maps = _subfolder(folder, _IMAGE_FOLDERS), _subfolder(folder, _MAP_FOLDERS)
    if images is None or maps is None:
        lacking, names = ("images", _IMAGE_FOLDERS) if images is None else ("index maps", _MAP_FOLDERS)
        raise UserError(f"{shown(folder)} has no folder of {lacking}: call it one of {', '.join(names)}")
    return images, maps


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    held = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    return next((held[name.lower()] for name in names if name.lower() in held), None)


def _paired(images: Path, maps: Path, *, some: bool = False) -> list[Sample]:
    """Each image with its map. some: images without a map are left out, as VOC has them."""
    by_name: dict[str, Path] = {}
    for path in find_images(maps):
        name = path.relative_to(maps).with_suffix("").as_posix()
        if (other := by_name.setdefault(name, path)) != path:
            raise UserError(f"{shown(other)} and {shown(path.name)} may both be the map of {name}: remove one")
    samples, without = [], []
    for path in find_images(images):
        stem = path.relative_to(images).with_suffix("").as_posix()
        names = [stem.removesuffix("_leftImg8bit") + ending for ending in (*_ENDINGS, "_gtFine_labelIds")]
        if place := next((by_name[name] for name in names if name in by_name), None):
            samples.append(Sample(path.absolute(), map=place.absolute()))
        else:
            without.append(path)
    if without and not some:
        raise UserError(
            f"{len(without)} images have no map in {shown(maps)}, the first is {shown(without[0])}: add them"
        )
    if not samples:
        raise UserError(f"{shown(images)} holds no images: fill it")
    return samples


def _read(sample: Sample, colours: bool) -> np.ndarray:
    """Values of a map, H x W: indices, or 65536 R + 256 G + B where maps are of colours."""
    path = sample.map
    assert path is not None
    try:
        with Image.open(path) as image:
            mode, deep, blurred = image.mode, is_deep(image), image.format == "JPEG"
            if colours:
                values = np.asarray(image.convert("RGB"), np.int64) @ np.array([65536, 256, 1])
            else:
                stored = np.asarray(image)
                with np.errstate(invalid="ignore"):
                    values = stored.astype(np.int64)
                whole = np.array_equal(values, stored)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{shown(path)} is no map that can be read ({error}): replace or remove it") from error
    if deep and mode in ("RGB", "RGBA", "LA"):
        raise UserError(
            f"{shown(path)} has several channels of 16 bits, of which the lower 8 are lost: save maps of one channel"
        )
    if not colours and not whole:
        raise UserError(f"{shown(path)} has values that are no whole numbers: save maps of indices")
    if values.ndim == 3 and all(
        np.array_equal(values[..., 0], values[..., k]) for k in range(1, min(3, values.shape[2]))
    ):
        values = values[..., 0]  # an index map saved in grey RGB
    if values.ndim != 2:
        raise UserError(
            f"{shown(path)} is a colour map (mode {mode}): say which colour is which class in classes.txt, "
            "a line 'R G B NAME' each"
        )
    if blurred:
        raise UserError(f"{shown(path)} is a JPEG, which blurs indices: save maps as PNG")
    size = image_size(sample.path)
    if values.shape != size:
        raise UserError(
            f"{shown(path)} has {values.shape[1]} x {values.shape[0]} pixels, its image {size[1]} x {size[0]}: "
            "they must be equal"
        )
    return values


def _meaning(values: Sequence[int], legend: Legend | None, ignore: Sequence[int] | None, folder: Path) -> _Values:
    """Which value of the maps is which class."""
    named = dict(legend.names) if legend is not None and legend.numbered else None
    left_out = set(ignore or ())
    if legend is None or not legend.colours:
        left_out |= {_IGNORED} - set(named or ())
        if ignore is None:
            _check_ignored(values, legend, left_out, folder)
    present = [value for value in values if value not in left_out]
    if not present:
        raise UserError(f"every value of the maps in {shown(folder)} is ignored ({_listed(values)}): correct --ignore")
    if legend is not None and named is None:
        names = list(legend.names.values())
        greatest = present[-1]
        # 0 is 'other' where the values go up to the number of the names, and nobody said that 0 is ignored
        first = 1 if greatest == len(names) or 0 in left_out else 0
        if greatest > len(names) - 1 + first:
            raise UserError(
                f"{shown(folder)}: the maps hold values up to {greatest}, but {shown(legend.path)} names {len(names)} "
                "classes: add the missing names, number them ('12 road'), or leave values out by --ignore"
            )
        named = {index + first: name for index, name in enumerate(names)}
        left_out |= {0} if first else set()
    elif named is None:
        named = {value: f"class {value}" for value in present}
    if unknown := [v for v in present if v not in named and v not in left_out]:
        what = f"#{unknown[0]:06x}" if legend is not None and legend.colours else unknown[0]
        raise UserError(
            f"{shown(folder)}: the maps hold {len(unknown)} values that the legend does not name, the first is {what}: "
            "name it, or leave it out by --ignore"
        )
    classes = {value: name for value, name in sorted(named.items()) if value not in left_out}
    if len(classes) > _MOST_CLASSES:
        raise UserError(f"{shown(folder)}: {len(classes)} classes are more than the {_MOST_CLASSES} that maps can hold")
    names = list(dict.fromkeys(classes.values()))  # several values or colours may be one class
    table = {value: names.index(name) + 1 for value, name in classes.items()}
    return _Values(table, names, legend is not None and legend.colours)


def _check_ignored(values: Sequence[int], legend: Legend | None, left_out: set[int], folder: Path) -> None:
    """Refuse maps in which 255, which nobody said to ignore, may be the class that is missing otherwise."""
    others = [value for value in values if value not in left_out]
    missing = len(others) < 2 or (
        legend is not None and not legend.numbered and others == list(range(len(legend.names) - 1))
    )
    if _IGNORED in values and _IGNORED in left_out and others and missing:
        raise UserError(
            f"{shown(folder)}: the maps hold the values {_listed(values)}; is 255 a class? Then number the lines of "
            "classes.txt ('0 background', '255 object'); if it is not trained on, say --ignore 255"
        )


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:8])) + (" ..." if len(values) > 8 else "")

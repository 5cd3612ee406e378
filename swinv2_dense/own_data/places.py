"""Files of own data, whatever format names them: each once, none on both sides of a split, and what is left out."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.own_data.samples import Found, Sample, common_folder, find_images
from swinv2_dense.suffixes import CLIPS, IMAGES

__all__ = ["note_left_out", "settle"]

# Files that a user would expect to be trained on, whether we read them or not.
_MEDIA = (*IMAGES, *CLIPS, ".gif", ".jp2", ".heic", ".heif", ".avif", ".dng", ".cr2", ".nef", ".arw")
# Folders of maps in COCO's and VOC's layouts, which are annotations of images that lie elsewhere.
_MAPS = re.compile(r"stuffthingmaps|panoptic.*|Segmentation(Class|Object)\w*", re.IGNORECASE)


def settle(found: Found) -> None:
    """Leave every file in the data once, by a path below ``found.root``.

    Raises:
        UserError: a file is annotated twice in different ways, is both in 'train' and 'val', or has a name that no list
            can hold.
    """
    real, twice = _real_paths(), 0
    by_file: dict[str, dict[str, Sample]] = {}
    for split, samples in found.splits.items():
        kept: dict[str, Sample] = {}
        for sample in samples:
            sample.path = _straight(sample.path)
            file = real(sample.path)
            if file in kept:
                twice += 1
            kept[file] = _one_of(kept[file], sample) if file in kept else sample
        by_file[split], found.splits[split] = kept, list(kept.values())
    if both := [sample.path for file, sample in by_file["train"].items() if file in by_file.get("val", {})]:
        raise UserError(
            f"{len(both)} files are both trained on and validated on, the first is {shown(both[0])}: take them out of "
            "one, or leave out the validation set, and a fifth becomes one"
        )
    if twice:
        found.notes.append(f"{twice} files are listed more than once, and are taken once")
    every = [sample.path for samples in found.splits.values() for sample in samples]
    for name in [*map(str, every), *found.classes]:
        if not _is_unicode(name):
            raise UserError(f"{shown(name)} is no UTF-8, in which names are listed: rename it")
    if not all(path.is_relative_to(found.root) for path in every):
        found.root = common_folder(found.splits)


def note_left_out(found: Found, data: Path, written: Path) -> None:
    """Note how many images and clips lie in ``data`` that no sample has; what was written there does not count."""
    real = _real_paths()
    taken = {real(p) for samples in found.splits.values() for s in samples for p in (s.path, s.map) if p is not None}
    files: list[Path] = []
    if data.is_dir():
        with contextlib.suppress(UserError):  # a folder that may not be read, such as lost+found
            for path in find_images(data, _MEDIA):
                files.append(path)
    else:
        folders = {sample.path.parent for samples in found.splits.values() for sample in samples}
        files = [path for folder in sorted(folders) for path in folder.iterdir() if path.suffix.lower() in _MEDIA]
    lost = [
        path
        for path in files
        if real(path) not in taken
        and not path.is_relative_to(written)
        and not any(_MAPS.fullmatch(folder) for folder in os.path.relpath(path.parent, data).split(os.sep))
    ]
    if lost:
        kinds = Counter(path.suffix.lower() for path in lost).most_common()
        counts = ", ".join(f"{suffix} {count}" for suffix, count in kinds)
        found.notes.append(f"left out: {len(lost)} files ({counts}), the first is {shown(lost[0])}")


def _one_of(one: Sample, other: Sample) -> Sample:
    """The sample of a file that is there twice: the annotated one."""
    if not other.classes or (one.classes, one.objects, one.map) == (other.classes, other.objects, other.map):
        return one
    if not one.classes:
        return other
    labels = " and as ".join(dict.fromkeys(", ".join(sorted(set(s.classes))) for s in (one, other)))
    raise UserError(
        f"{shown(other.path)} is in the data twice, as {labels}, annotated in different ways: take one out"
        + (f" ({shown(one.path)} is the same file)" if one.path != other.path else "")
    )


def _straight(path: Path) -> Path:
    """An absolute path without '..'; links stay, beside which labels are found."""
    return path.parent.resolve() / path.name if ".." in path.parts else path.absolute()


def _real_paths() -> Callable[[Path], str]:
    folder = cache(os.path.realpath)

    def real(path: Path) -> str:
        place = os.path.join(folder(path.parent), path.name)
        return os.path.realpath(place) if os.path.islink(place) else place

    return real


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True

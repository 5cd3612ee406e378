"""Pascal VOC's lists of images: ImageSets/Main and ImageSets/Segmentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown
from swinv2_dense.own_data.samples import SPLITS, Sample

__all__ = ["split_by_lists"]


def split_by_lists(samples: Mapping[str, Sample], folder: Path) -> dict[str, list[Sample]]:
    """Samples, by their names, in the splits that the lists of a folder name; nothing without lists.

    A name may have folders, DIR/NAME, which lists may leave out where NAME is there once. trainval is trained on where
    there is no train. Where only training has a list, no other sample is taken.

    Raises:
        UserError: a list names what is not there, or there is none to train on.
    """
    names = {**SPLITS, "train": (*SPLITS["train"], "trainval")}
    files = {path.stem.lower(): path for path in folder.glob("*.txt")}
    lists = {split: next((files[n] for n in names[split] if n in files), None) for split in SPLITS}
    train, val = lists["train"], lists["val"]
    if train is None and val is None:
        return {}
    if train is None:
        raise UserError(f"{shown(val)} is a list to validate on, but there is no train.txt beside it: add it")
    ends = Counter(Path(name).name for name in samples)
    samples = {**{Path(name).name: s for name, s in samples.items() if ends[Path(name).name] == 1}, **samples}
    return {split: _listed(samples, path) for split, path in lists.items() if path is not None}


def _listed(samples: Mapping[str, Sample], path: Path) -> list[Sample]:
    found = []
    for line in filter(None, map(str.strip, read_text(path).splitlines())):
        # a line may go on with a flag, have the suffix of the image, or its folder
        forms = (line, line.split()[0], Path(line).stem, Path(line.split()[0]).stem)
        name = next((form for form in forms if form in samples), None)
        if name is None:
            raise UserError(
                f"{shown(path)}: {shown(line)} of the {path.stem} list has no image with annotations: add them, or "
                "correct the list"
            )
        found.append(samples[name])
    if not found:
        raise UserError(f"{shown(path)} is empty: list images in it, or remove it")
    return found

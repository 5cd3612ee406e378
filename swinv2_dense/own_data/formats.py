"""Which format own data are in, by what a config trains on and what lies in the folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.own_data.class_folders import read_class_folders
from swinv2_dense.own_data.coco import find_jsons, read_coco
from swinv2_dense.own_data.maps import read_maps, write_maps
from swinv2_dense.own_data.places import note_left_out, settle
from swinv2_dense.own_data.samples import Found, split_folder, split_samples
from swinv2_dense.own_data.voc import find_xmls, read_voc
from swinv2_dense.own_data.yolo import find_yaml, read_yolo
from swinv2_dense.progress import Progress, silent

__all__ = ["read"]


def read(
    data: Path,
    scope: str,
    folder: Path,
    *,
    images: Path | None = None,
    ignore: Sequence[int] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Found:
    """Read ``data``, split where they are not; index maps are written to ``folder``.

    Args:
        data: a file or a folder.
        scope: the config's ``default_scope``, which says what it trains on.
        images: the folder of a COCO file's images.
        ignore: values of index maps that are not trained on.
        seed: of the split.

    Raises:
        UserError: no format that this config can train on, or a mistake in the data.
    """
    if not data.exists():
        raise UserError(f"--data {shown(data)} does not exist")
    data = data.resolve() if data.is_dir() else data.parent.resolve() / data.name
    if images is not None and (scope != "mmdet" or data.is_dir()):
        raise UserError("--images names the images of a COCO file, for detection: leave it out")
    if ignore is not None and scope != "mmseg":
        raise UserError("--ignore is about index maps, for segmentation: leave it out")
    values = None
    if scope == "mmdet":
        found = _detection(data, images)
    else:
        if not data.is_dir():
            raise UserError(f"--data {shown(data)}: this config trains on a folder, not a file")
        if scope == "mmseg":
            found, values = read_maps(data, ignore=ignore, progress=progress)
        elif scope in ("mmaction", "mmpretrain"):
            found = read_class_folders(data, clips=scope == "mmaction")
        else:
            raise UserError(f"--data: configs of default_scope {scope!r} take none; those of detection, segmentation, "
                            "classification and video do")  # fmt: skip
    settle(found)
    note_left_out(found, data, folder)
    if not found.splits.get("val"):
        found.splits = split_samples(found.splits["train"], seed)
        found.notes.append("no validation set: a fifth of the data became one, drawn at random")
    if not found.classes:
        raise UserError(f"--data {shown(data)} holds no object of any class: there is nothing to learn")
    if values is not None:
        write_maps(found, values, folder / "maps", progress)
    return found


def _detection(data: Path, images: Path | None) -> Found:
    """COCO, YOLO or Pascal VOC."""
    if data.suffix.lower() == ".json":
        return read_coco({"train": data}, images)
    if data.suffix.lower() in (".yaml", ".yml"):
        return read_yolo(data)
    if not data.is_dir():
        raise UserError(f"--data {shown(data)} is neither a COCO .json, nor a YOLO data.yaml, nor a folder")
    if yaml := find_yaml(data):
        return read_yolo(yaml)
    if jsons := find_jsons(data):
        if "train" not in jsons:
            raise UserError(
                f"{shown(data)} holds only {jsons['val'].name}: give it as --data to split it, or add train"
            )
        return read_coco(jsons)
    train = split_folder(data, "train")
    if find_xmls(data) or (train is not None and find_xmls(train)):
        return read_voc(data)
    inner = [path for path in sorted(data.iterdir()) if find_xmls(path)]  # VOCdevkit holds VOC2007 and others
    if len(inner) == 1:
        return read_voc(inner[0])
    if inner:
        names = ", ".join(path.name for path in inner)
        raise UserError(f"{shown(data)} holds VOC's .xml in {names}, none called train: give one of them as --data")
    raise UserError(
        f"--data {shown(data)}: found no COCO .json (in it or in annotations), no YOLO data.yaml and no VOC .xml; see "
        "docs/own_data"
    )

"""What a data set in a config promises, held against what is on disk."""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from swinv2_dense.checks.image_folders import ClassFolders, class_folders, images_below
from swinv2_dense.checks.index_maps import check_pairs
from swinv2_dense.errors import UserError

__all__ = ["check_dataset", "leaf_datasets"]


def leaf_datasets(dataset: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset, each with its config key."""
    if "dataset" in dataset:
        yield from leaf_datasets(dataset.dataset, f"{key}.dataset")
    elif "datasets" in dataset:
        for index, part in enumerate(dataset.datasets):
            yield from leaf_datasets(part, f"{key}.datasets.{index}")
    else:
        yield key, dataset


def check_dataset(cfg: Config, key: str, dataset: Any) -> None:
    """Folders, annotation file, images and classes of one data set.

    Data that are not on this machine's disks (a URL, ``backend_args``) are left unchecked.

    Args:
        key: where in the config the data set stands, for the message.

    Raises:
        UserError: the first thing that does not fit.
    """
    root = dataset.get("data_root") or ""
    if "://" in root or dataset.get("backend_args"):
        return
    if root:
        _check_folder(cfg, root, f"{key}.data_root")
    if dataset.type.startswith("swinv2_dense.") and isinstance(dataset.get("data_prefix", ""), str):
        _check_image_folders(cfg, key, dataset)
        return
    prefixes = dataset.get("data_prefix") or {}
    for name, prefix in prefixes.items():
        if prefix is not None:
            _check_folder(cfg, os.path.join(root, prefix), f"{key}.data_prefix.{name}")
    classes = _check_classes(cfg, key, dataset)
    if prefixes.get("seg_map_path") and not dataset.get("ann_file"):
        _check_maps(cfg, root, dataset)
    if dataset.get("ann_file"):
        ann_file = os.path.join(root, dataset.ann_file)
        if not os.path.isfile(ann_file):
            raise UserError(f"annotation file {ann_file} does not exist: correct {key}.ann_file")
        if ann_file.endswith(".json"):
            _check_coco(key, dataset, ann_file, classes)


def _check_image_folders(cfg: Config, key: str, dataset: Any) -> None:
    """Folders of images; where they are classes, labels for the model's head, and the same classes in training."""
    folder = os.path.join(dataset.get("data_root") or "", dataset.get("data_prefix") or "")
    _check_folder(cfg, folder, f"{key}.data_prefix")
    if dataset.type != "swinv2_dense.ClassFolderImages":
        if next(images_below(folder), None) is None:
            raise UserError(f"{folder} holds no images: correct {key}.data_root, or fill the folder")
        return
    found = class_folders(folder, dataset.get("num_classes"))
    classes = dataset.get("num_classes") or len(found.labels)
    for path, count in _class_counts(cfg.model, "model"):
        if count != classes:
            raise UserError(
                f"{path}={count}, but {key} has {classes} classes ({folder}): make every num_classes {classes}"
            )
    trained = cfg.get("train_dataloader", {}).get("dataset", {})
    if trained.get("type") == dataset.type and not found.names_are_labels:
        trained_on = os.path.join(trained.get("data_root") or "", trained.get("data_prefix") or "")
        if os.path.isdir(trained_on):
            _check_same_classes(found, class_folders(trained_on, trained.get("num_classes")), folder)


def _check_same_classes(tested: ClassFolders, trained: ClassFolders, folder: str) -> None:
    """Where the order of the names makes the labels, the names must be the same."""
    if set(tested.labels) != set(trained.labels):
        name = min(set(tested.labels) ^ set(trained.labels))
        raise UserError(
            f"{folder}: its class folders are not those of the training data, {name} is in only one of the two: "
            "labels are places in the order of the names, so make the folders the same"
        )


def _check_maps(cfg: Config, root: str, dataset: Any) -> None:
    """Pictures and class maps of a data set of mmseg's that is two folders come in pairs."""
    with DATASETS.switch_scope_and_registry(cfg.get("default_scope")) as registry:
        options = inspect.signature(registry.get(dataset.type)).parameters
    suffixes = [dataset.get(key, options[key].default) for key in ("img_suffix", "seg_map_suffix") if key in options]
    if len(suffixes) == 2:
        folders = [os.path.join(root, dataset.data_prefix.get(key) or "") for key in ("img_path", "seg_map_path")]
        check_pairs(*folders, *suffixes)


def _check_folder(cfg: Config, folder: str, key: str) -> None:
    path = Path(folder)
    problem = "does not exist" if not path.is_dir() else "is empty" if not any(path.iterdir()) else None
    if problem is None:
        return
    variables = sorted(set(re.findall(r"\$(\w+)\s*:", cfg.text or "")))
    advice = f"set {variables[0]} to the folder of the data, or correct {key}" if variables else f"correct {key}"
    raise UserError(f"{folder} {problem}: {advice}")


def _check_classes(cfg: Config, key: str, dataset: Any) -> Sequence[str] | None:
    """The class names of a data set; every head must have as many classes."""
    with DATASETS.switch_scope_and_registry(cfg.get("default_scope")) as registry:
        dataset_class = registry.get(dataset.type)
    if dataset_class is None:
        raise UserError(f"{key}.type={dataset.type!r} does not exist: correct it, or name its module in custom_imports")
    metainfo = {**getattr(dataset_class, "METAINFO", {}), **(dataset.get("metainfo") or {})}
    classes = metainfo.get("classes")
    if classes is None or isinstance(classes, str):  # a file of names: the data set reads it
        return None
    for path, count in _class_counts(cfg.model, "model"):
        if count != len(classes):
            raise UserError(
                f"{path}={count}, but {key} ({dataset.type}) has {len(classes)} classes: "
                f"make every num_classes {len(classes)}, or give the data set's metainfo.classes"
            )
    return classes


def _class_counts(node: Any, path: str) -> Iterator[tuple[str, int]]:
    """num_classes of every head but HTC's semantic one, whose classes (things and stuff) are not the data set's."""
    if isinstance(node, dict):
        if isinstance(node.get("num_classes"), int):
            yield f"{path}.num_classes", node["num_classes"]
        for key, value in node.items():
            if key != "semantic_head":
                yield from _class_counts(value, f"{path}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _class_counts(value, f"{path}.{index}")


def _check_coco(key: str, dataset: Any, ann_file: str, classes: Sequence[str] | None) -> None:
    """A COCO-format annotation file: it can be read, its images exist, its categories are the classes."""
    try:
        content = json.loads(Path(ann_file).read_bytes())
        categories = [category["name"] for category in content["categories"]]
        names = [image["file_name"] for image in content["images"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{ann_file} is no COCO annotation file, or was cut off ({type(error).__name__}: {error}): "
            f"replace it, or correct {key}.ann_file"
        ) from error
    if classes is not None:
        _check_categories(key, ann_file, categories, classes, named="classes" in (dataset.get("metainfo") or {}))
    folder = os.path.join(dataset.get("data_root") or "", (dataset.get("data_prefix") or {}).get("img") or "")
    _check_images(key, ann_file, folder, names)


def _check_categories(key: str, ann_file: str, categories: Sequence[str], classes: Sequence[str], named: bool) -> None:
    """Classes by name. One that the file lacks would shift the labels of all classes after it.

    Categories beyond the classes are dropped by the data set, which is meant only if the config names the classes.
    """
    lacking = [name for name in classes if name not in categories]
    spare = [name for name in categories if name not in classes]
    if not lacking and (named or not spare):
        return
    differing = "; ".join(
        f"only in the {where}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        for where, names in (("config", lacking), ("file", spare))
        if names
    )
    raise UserError(
        f"{ann_file} has {len(categories)} categories, but {key} has {len(classes)} classes ({differing}): "
        "make metainfo.classes of every data set and num_classes of every head match the file"
    )


def _check_images(key: str, ann_file: str, folder: str, names: Sequence[str]) -> None:
    sizes: dict[str, int] = {}
    for parent in {os.path.dirname(name) for name in names}:
        if os.path.isdir(os.path.join(folder, parent)):
            with os.scandir(os.path.join(folder, parent)) as entries:
                sizes.update({os.path.join(parent, entry.name): entry.stat().st_size for entry in entries})
    missing = [name for name in names if name not in sizes]
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} of the {len(names)} images of {ann_file}, the first is {missing[0]}: "
            f"complete it, or correct {key}.data_prefix.img"
        )
    empty = [name for name in names if sizes[name] == 0]
    if empty:
        raise UserError(f"{os.path.join(folder, empty[0])} is an empty file: replace it")

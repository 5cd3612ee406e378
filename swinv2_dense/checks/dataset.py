"""What a data set in a config promises, held against what is on disk."""

from __future__ import annotations

import inspect
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS

from swinv2_dense.checks.annotations import Counts, Use, check_objects
from swinv2_dense.checks.classes import check_categories, check_heads, class_counts, classes_of
from swinv2_dense.checks.clips import count_clips, read_clip_list
from swinv2_dense.checks.coco_file import check_tables, read_coco
from swinv2_dense.checks.findings import Finding, raise_first, warn
from swinv2_dense.checks.image_folders import ClassFolders, class_folders, images_below
from swinv2_dense.checks.images import check_image
from swinv2_dense.checks.index_maps import check_listed_pairs, check_pairs
from swinv2_dense.checks.loaders import loading_step, max_image_pixels
from swinv2_dense.checks.summary import show_counts
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

__all__ = ["check_dataset", "leaf_datasets", "semantic_leaf"]

_SAMPLE = 64  # images of a data set whose headers are read before training


def leaf_datasets(dataset: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset, each with its config key."""
    if "dataset" in dataset:
        yield from leaf_datasets(dataset.dataset, f"{key}.dataset")
    elif "datasets" in dataset:
        for index, part in enumerate(dataset.datasets):
            yield from leaf_datasets(part, f"{key}.datasets.{index}")
    else:
        yield key, dataset


def check_dataset(cfg: Config, key: str, dataset: Any, *, train: bool = True, scored: bool = False) -> list[str] | None:
    """Folders, annotation file, images and classes of one data set; returns its class names, where they are known.

    Data that are not on this machine's disks (a URL, ``backend_args``) are left unchecked.

    Args:
        key: where in the config the data set stands, for the message.
        train: it is trained on: what there is of every class is printed.
        scored: predictions are compared with its annotations; otherwise a test needs none.

    Raises:
        UserError: the first thing that does not fit.
    """
    root = dataset.get("data_root") or ""
    dataset_class = _class_of(cfg, key, dataset)
    if "://" in root or dataset.get("backend_args"):
        return None
    if root:
        _check_folder(cfg, root, f"{key}.data_root")
    if dataset.type.startswith("swinv2_dense.") and isinstance(dataset.get("data_prefix", ""), str):
        _check_image_folders(cfg, key, dataset)
        return None
    prefixes = dataset.get("data_prefix") or {}
    for name, prefix in prefixes.items():
        if name == "seg" and prefix and "semantic_head" in cfg.model.get("roi_head", {}):
            _check_semantic_maps(cfg, os.path.join(root, prefix))
        if prefix is not None:
            _check_folder(cfg, os.path.join(root, prefix), f"{key}.data_prefix.{name}")
    classes = classes_of(key, dataset, dataset_class)
    if classes is not None:
        check_heads(cfg.model, key, dataset.type, classes)
    if "img_path" in prefixes and _has_maps(dataset_class):
        _check_maps(key, root, dataset, dataset_class, train, scored)
    elif str(dataset.type).endswith("VideoClips"):
        _check_clips(cfg, key, root, dataset, classes, train)
    elif dataset.get("ann_file"):
        ann_file = os.path.join(root, dataset.ann_file)
        if not os.path.isfile(ann_file):
            raise UserError(f"annotation file {shown(ann_file)} does not exist: correct {key}.ann_file")
        # Its subclasses with another API (LVIS, panoptic) read other formats.
        if getattr(getattr(dataset_class, "COCOAPI", None), "__name__", None) == "COCO":
            _Coco(cfg, key, dataset, ann_file, train, scored).check(classes)
    return classes


def semantic_leaf(cfg: Config) -> str:
    """The config that does without HTC's semantic branch what this one does with it."""
    match = re.match(r"htc_(swinv2_[a-z])", os.path.basename(cfg.filename or ""))
    return f"coco/htc_without_semantic_{match[1] if match else 'swinv2_t'}"


def _check_semantic_maps(cfg: Config, folder: str) -> None:
    if not os.path.isdir(folder):
        raise UserError(
            f"semantic maps {shown(folder)} do not exist, and this config's semantic branch trains on them: get them, "
            "make them by swinv2 prepare coco stuffthingmaps, or take the config without that branch, "
            f"{semantic_leaf(cfg)}"
        )


def _class_of(cfg: Config, key: str, dataset: Any) -> type:
    with DATASETS.switch_scope_and_registry(cfg.get("default_scope")) as registry:
        dataset_class = registry.get(dataset.type)
    if dataset_class is None:
        raise UserError(f"{key}.type={dataset.type!r} does not exist: correct it, or name its module in custom_imports")
    return dataset_class


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
    for path, count in class_counts(cfg.model, "model"):
        if count != classes:
            raise UserError(
                f"{path}={count}, but {key} has {classes} classes ({folder}): make every num_classes {classes}"
            )
    trained = cfg.get("train_dataloader", {}).get("dataset", {})
    if trained.get("type") == dataset.type and not found.names_are_labels:
        trained_on = os.path.join(trained.get("data_root") or "", trained.get("data_prefix") or "")
        if os.path.isdir(trained_on):
            _check_same_folders(found, class_folders(trained_on, trained.get("num_classes")), folder)


def _check_same_folders(tested: ClassFolders, trained: ClassFolders, folder: str) -> None:
    """Where the order of the names makes the labels, the names must be the same."""
    if set(tested.labels) != set(trained.labels):
        name = min(set(tested.labels) ^ set(trained.labels))
        raise UserError(
            f"{folder}: its class folders are not those of the training data, {name} is in only one of the two: "
            "labels are places in the order of the names, so make the folders the same"
        )


def _check_clips(cfg: Config, key: str, root: str, dataset: Any, classes: Sequence[str] | None, train: bool) -> None:
    """A list of clips can be read, and its labels are those of the head."""
    path = os.path.join(root, dataset.get("ann_file") or "")
    heads = [count for _, count in class_counts(cfg.model, "model")]
    number = min([dataset.get("num_classes", 400), *heads])
    prefix = os.path.join(root, (dataset.get("data_prefix") or {}).get("video") or "")
    entries = read_clip_list(path, number, delimiter=dataset.get("delimiter", " "), prefix=prefix)
    if train:
        count_clips(key, [label for _, label in entries], number, classes)


def _has_maps(dataset_class: type) -> bool:
    """Whether it is a data set of mmseg's, of images and class maps."""
    return hasattr(dataset_class, "get_label_map")


def _check_maps(key: str, root: str, dataset: Any, dataset_class: type, train: bool, scored: bool) -> None:
    """Images and class maps of a data set of mmseg's, two folders or a list of names, come in pairs."""
    prefixes = dataset.data_prefix
    images, maps = (os.path.join(root, prefixes.get(name) or "") for name in ("img_path", "seg_map_path"))
    if not prefixes.get("seg_map_path"):
        if train or scored:
            what = "training" if train else "scoring"
            raise UserError(f"{key}.data_prefix has no seg_map_path: {what} needs the folder of the class maps")
        return
    suffixes = _suffixes(dataset, dataset_class)
    if dataset.get("ann_file"):
        check_listed_pairs(os.path.join(root, dataset.ann_file), images, maps, *suffixes)
    else:
        check_pairs(images, maps, *suffixes)


def _suffixes(dataset: Any, dataset_class: type) -> tuple[str, str]:
    """Of images and maps: the config's, or the type's own, which may stand in a class that it extends."""
    found = {"img_suffix": ".jpg", "seg_map_suffix": ".png"}
    for cls in reversed(dataset_class.__mro__):
        init = vars(cls).get("__init__")
        for name, option in inspect.signature(init).parameters.items() if inspect.isfunction(init) else ():
            if name in found and isinstance(option.default, str):
                found[name] = option.default
    return dataset.get("img_suffix", found["img_suffix"]), dataset.get("seg_map_suffix", found["seg_map_suffix"])


def _check_folder(cfg: Config, folder: str, key: str) -> None:
    path = Path(folder)
    problem = "does not exist" if not path.is_dir() else "is empty" if not any(path.iterdir()) else None
    if problem is None:
        return
    variables = sorted(set(re.findall(r"\$(\w+)\s*:", cfg.text or "")))
    advice = f"set {variables[0]} to the folder of the data, or correct {key}" if variables else f"correct {key}"
    raise UserError(f"{shown(folder)} {problem}: {advice}")


class _Coco:
    """An annotation file in COCO's format: it can be read, its images exist, its objects can be learnt."""

    def __init__(self, cfg: Config, key: str, dataset: Any, ann_file: str, train: bool, scored: bool) -> None:
        self.key, self.dataset, self.ann_file, self.train, self.scored = key, dataset, ann_file, train, scored
        self.max_pixels = max_image_pixels(cfg)
        self.folder = os.path.join(dataset.get("data_root") or "", (dataset.get("data_prefix") or {}).get("img") or "")

    def check(self, classes: list[str] | None) -> None:
        content = read_coco(self.ann_file, annotated=self.train or self.scored)
        remedy = f"correct the file, or {self.key}.ann_file; swinv2 prepare coco check FILE --images FOLDER lists all"
        raise_first(check_tables(content, self.ann_file, self.max_pixels), remedy)
        self._check_names(content, classes)
        self._check_files([image["file_name"] for image in content["images"]])
        use = self._use(classes)
        findings, counts = check_objects(content, self.ann_file, use)
        self._check_counts(counts, use)
        raise_first([*findings, *self._check_sample(content["images"])], remedy)
        if (self.train or self.scored) and not any(counts.objects.values()):
            self._refuse_nothing(findings, counts)
        if self.train:
            show_counts(self.key, counts)
        if counts.without_objects and (self.train or self.scored):
            names = counts.without_objects
            listed = ", ".join(map(shown, names[:5])) + (" ..." if len(names) > 5 else "")
            warn(f"{self.ann_file} has no object of {len(names)} of {len(counts.objects)} classes: {listed}")

    def _use(self, classes: list[str] | None) -> Use:
        loading = loading_step(self.dataset, "LoadAnnotations") or loading_step(self.dataset, "LoadInstances")
        polygons_only = str(loading.get("type")).endswith("LoadAnnotations") and not loading.get("poly2mask", True)
        filters = {} if self.dataset.get("test_mode") else self.dataset.get("filter_cfg") or {}
        return Use(
            classes,
            masks=bool(loading.get("with_mask")),
            run_lengths=not polygons_only,
            evaluated=not self.train,
            smallest=filters.get("min_size", 0),
            needs_objects=filters.get("filter_empty_gt", False),
        )

    def _check_names(self, content: dict[str, Any], classes: list[str] | None) -> None:
        if classes is None:
            return
        categories = content["categories"]
        if str(self.dataset.type).endswith("Objects365V1Dataset"):  # the only one that numbers labels by id
            categories = sorted(categories, key=lambda category: category["id"])
        names = [category["name"] for category in categories]
        named = "classes" in (self.dataset.get("metainfo") or {})
        check_categories(self.key, self.ann_file, names, classes, named=named)

    def _check_counts(self, counts: Counts, use: Use) -> None:
        where = f"{self.ann_file} ({self.key})"
        if use.masks and counts.without_mask and counts.without_mask == counts.annotations:
            raise UserError(
                f"{where} has boxes but no masks, which this config trains on: take a config of boxes alone, such as "
                "coco/dino_swinv2_t, or add a segmentation to every annotation"
            )
        if use.masks and not use.run_lengths and counts.ignored_run_lengths and self.train:
            raise UserError(
                f"{where} has {counts.ignored_run_lengths} single objects as run lengths, which "
                "LoadAnnotations(poly2mask=False) takes for crowds: load them by type='swinv2_dense.LoadInstances'"
            )
        if not counts.images:
            raise UserError(f"{where} lists no images")
        if not counts.usable:
            raise UserError(
                f"none of the {counts.images} images of {where} is left: filter_cfg leaves out images without objects "
                f"of the classes, and those below {use.smallest} pixels; correct the file, the classes or filter_cfg"
            )

    def _refuse_nothing(self, findings: Sequence[Finding], counts: Counts) -> None:
        """Training would run to its end with losses of 0; every score would be -1."""
        reasons = Counter(finding.kind for finding in findings if finding.kind != "no iscrowd")
        reasons["iscrowd 1"] = counts.crowds
        why = ", ".join(f"{kind}: {count}" for kind, count in reasons.most_common() if count)
        raise UserError(
            f"{self.ann_file} ({self.key}) has no object to {'train on' if self.train else 'score'} among its "
            f"{counts.annotations} annotations ({why or 'none of the classes'}): correct the file, or the classes"
            + ("" if self.train else "; swinv2 test --format-only writes predictions without scoring them")
        )

    def _check_files(self, names: Sequence[str]) -> None:
        """Every image exists and is not empty. What else is in the folder does not matter."""
        sizes: dict[str, int] = {}
        wanted = set(names)
        for parent in {os.path.dirname(name) for name in names}:
            if os.path.isdir(os.path.join(self.folder, parent)):
                with os.scandir(os.path.join(self.folder, parent)) as entries:
                    for entry in entries:
                        name = os.path.join(parent, entry.name)
                        if name in wanted and entry.is_file():  # False for a link to nothing
                            sizes[name] = entry.stat().st_size
        # Names with ./ or // in them are found one by one.
        missing = [n for n in names if n not in sizes and not os.path.isfile(os.path.join(self.folder, n))]
        if missing:
            raise UserError(
                f"{shown(self.folder)} lacks {len(missing)} of the {len(names)} images of {self.ann_file}, the first "
                f"is {shown(missing[0])}: complete it, or correct {self.key}.data_prefix.img"
            )
        empty = [name for name in names if sizes.get(name) == 0]
        if empty:
            raise UserError(f"{shown(os.path.join(self.folder, empty[0]))} is an empty file: replace it")

    def _check_sample(self, images: Sequence[dict[str, Any]]) -> Iterator[Finding]:
        """The headers of some images, evenly spread. A pipeline that loads other than 8-bit colours says so itself."""
        loading = loading_step(self.dataset, "LoadImageFromFile")
        if loading.get("color_type", "color") != "color":
            return
        for index in np.unique(np.linspace(0, len(images) - 1, min(_SAMPLE, len(images))).astype(int)):
            image = images[index]
            path = Path(self.folder, image["file_name"])
            size = (image["height"], image["width"])
            yield from check_image(path, str(path), size, image=image["id"], max_pixels=self.max_pixels)

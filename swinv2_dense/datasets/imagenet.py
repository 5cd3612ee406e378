"""Folders of images, with a folder a class or without labels. Importing this module imports mmpretrain; configs name
it."""

from __future__ import annotations

import os
from typing import Any

from mmpretrain.datasets import BaseDataset
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

from swinv2_dense.checkpoint.imagenet_rows import CLASSES_1K
from swinv2_dense.checks.image_folders import class_folders, images_below, wnids
from swinv2_dense.errors import UserError
from swinv2_dense.registry import DATASETS

__all__ = ["ClassFolderImages", "UnlabelledImages"]


@DATASETS.register_module()
class ClassFolderImages(BaseDataset):
    """Images in a folder per class: ImageNet-1K or some of its classes, ImageNet-V2, ImageNet-22K, or own data.

    ``data_prefix`` is the folder, below ``data_root``, that holds the class folders. Which label a folder has is said
    by its name, see :func:`~swinv2_dense.checks.image_folders.labels_of`.

    Args:
        num_classes: of the model's head; None for as many as there are folders.

    Raises:
        UserError: the names of the folders give no labels of ``num_classes``, or a folder holds no images.
    """

    def __init__(self, *, num_classes: int | None = None, data_root: str = "", data_prefix: str = "", **options: Any):
        self.num_classes = num_classes
        super().__init__(ann_file="", data_root=data_root, data_prefix=data_prefix, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        folders = class_folders(self.img_prefix, self.num_classes)
        if "classes" not in self._metainfo:
            count = self.num_classes or len(folders.labels)
            self._metainfo["classes"] = _names(folders.labels, count)
        entries = []
        for folder, label in folders.labels.items():
            place = os.path.join(self.img_prefix, folder)
            found = [{"img_path": os.path.join(place, path), "gt_label": label} for path in images_below(place)]
            if not found:
                raise UserError(f"{place} holds no images: every class needs some, so complete or remove the folder")
            entries += found
        return entries


def _names(labels: dict[str, int], count: int) -> tuple[str, ...]:
    """Names of the classes: in words where they are ImageNet's, otherwise the folders'."""
    if count == CLASSES_1K and (all(map(str.isdecimal, labels)) or set(labels) <= set(wnids())):
        return tuple(IMAGENET_CATEGORIES)
    by_label = {label: name for name, label in labels.items()}
    return tuple(by_label[label] for label in range(count))


@DATASETS.register_module()
class UnlabelledImages(BaseDataset):
    """Every image of a folder and of the folders in it, for pre-training without labels.

    Raises:
        UserError: there is none.
    """

    def __init__(self, *, data_root: str = "", data_prefix: str = "", **options: Any) -> None:
        super().__init__(ann_file="", data_root=data_root, data_prefix=data_prefix, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        if not os.path.isdir(self.img_prefix):
            raise UserError(f"{self.img_prefix} does not exist: give a folder of images")
        found = [{"img_path": os.path.join(self.img_prefix, path)} for path in images_below(self.img_prefix)]
        if not found:
            raise UserError(f"{self.img_prefix} holds no images: give a folder of images")
        return found

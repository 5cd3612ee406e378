"""Class names and their order, between a config, its annotation files and its heads.

mmdet's ``CocoDataset`` numbers labels in the order of the *file's* categories, whatever the order of the config's
classes; the config's names are only looked up in it. So a file in another order trains, or scores, with names swapped,
and nothing says so.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from swinv2_dense.checks.findings import warn
from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown

__all__ = [
    "check_categories",
    "check_heads",
    "check_losses",
    "check_same_classes",
    "check_trained",
    "class_counts",
    "classes_of",
    "warn_of_other_input",
]

_LISTED = 3  # names in a message
_IGNORED = 255  # the label that mmseg ignores


def classes_of(key: str, dataset: Any, dataset_class: type) -> list[str] | None:
    """The class names of a data set: ``metainfo.classes``, a file of one name per line, or its type's own; None where
    it has none.

    Raises:
        UserError: a string that is no file, names that are no strings, or a name twice.
    """
    metainfo = {**getattr(dataset_class, "METAINFO", {}), **(dataset.get("metainfo") or {})}
    classes = metainfo.get("classes")
    if classes is None:
        return None
    key = f"{key}.metainfo.classes"
    if isinstance(classes, str):
        if not os.path.isfile(classes):
            if dataset.get("num_classes"):
                return None  # clips: labels are numbers, and the names would only be drawn
            if os.path.basename(classes) != classes or os.path.splitext(classes)[1]:
                raise UserError(f"file of class names {shown(classes)} does not exist: correct {key}")
            raise UserError(
                f"{key}={classes!r} is a string and no file of names: a tuple of one name is written ({classes!r},), "
                "with a comma"
            )
        text = read_text(classes, "file of class names")
        classes = [line for line in text.split("\n") if line]
        if text != _as_mmengine_reads(classes_file := metainfo["classes"]):
            raise UserError(f"{shown(classes_file)} begins with a byte order mark: save it as UTF-8 without one")
    if not all(isinstance(name, str) for name in classes):
        raise UserError(f"{key} holds something other than names: write them in quotes")
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise UserError(f"{key} has the name {twice[0]!r} twice: labels would be ambiguous")
    return list(classes)


def _as_mmengine_reads(file: str) -> str:
    with open(file, encoding="utf-8", newline=None) as opened:
        return opened.read()


def check_heads(model: Any, key: str, kind: str, classes: Sequence[str]) -> None:
    """Every head has as many classes as the data set (``kind`` is its type).

    Raises:
        UserError: one has not.
    """
    for path, count in class_counts(model, "model"):
        if count != len(classes):
            raise UserError(
                f"{path}={count}, but {key} ({kind}) has {len(classes)} classes: "
                f"make every num_classes {len(classes)}, or give the data set's metainfo.classes"
            )


def class_counts(node: Any, path: str) -> Iterator[tuple[str, int]]:
    """num_classes of every head but HTC's semantic one, whose classes (things and stuff) are not the data set's."""
    if isinstance(node, dict):
        if isinstance(node.get("num_classes"), int):
            yield f"{path}.num_classes", node["num_classes"]
        for key, value in node.items():
            if key != "semantic_head":
                yield from class_counts(value, f"{path}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from class_counts(value, f"{path}.{index}")


def check_losses(node: Any, path: str = "model") -> None:
    """No head has a loss that is always 0, or a class that is never learnt.

    Raises:
        UserError: a softmax over a single class, or a segmentation head with the label that is ignored.
    """
    if isinstance(node, dict):
        count, losses = node.get("num_classes"), node.get("loss_decode")
        if isinstance(losses, dict):
            losses = [losses]
        if count == 1 and (losses or path.endswith("cls_head")):
            softmax = [loss for loss in losses or [node.get("loss_cls") or {}] if not loss.get("use_sigmoid")]
            if any(loss.get("type", "CrossEntropyLoss") == "CrossEntropyLoss" for loss in softmax):
                raise UserError(
                    f"{path}.num_classes=1 with a softmax loss: it is always 0, so nothing would be learnt; take two "
                    "classes, the second for everything else, or one channel with use_sigmoid=True (out_channels=1)"
                )
        if losses and isinstance(count, int) and count > _IGNORED:
            raise UserError(
                f"{path}.num_classes={count}: mmseg ignores the label {_IGNORED}, so that class would never be learnt; "
                f"take at most {_IGNORED} classes"
            )
        for key, value in node.items():
            check_losses(value, f"{path}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            check_losses(value, f"{path}.{index}")


def check_categories(
    key: str, ann_file: str, categories: Sequence[str], classes: Sequence[str], *, named: bool
) -> None:
    """The categories of a file, in their order, are the classes.

    Categories beyond the classes are dropped by the data set, which is meant only if the config names the classes.

    Args:
        categories: in the order in which the data set numbers them.
        named: the config names the classes.

    Raises:
        UserError: they differ, or come in another order.
    """
    lacking = [name for name in classes if name not in categories]
    spare = [name for name in categories if name not in classes]
    if lacking or (spare and not named):
        differing = "; ".join(
            f"only in the {where}: {_list(names)}" for where, names in (("config", lacking), ("file", spare)) if names
        )
        raise UserError(
            f"{ann_file} has {len(categories)} categories, but {key} has {len(classes)} classes ({differing}): "
            "make metainfo.classes of every data set and num_classes of every head match the file"
        )
    order = [name for name in categories if name in classes]
    if order != list(classes):
        place = next(i for i, (a, b) in enumerate(zip(order, classes, strict=True)) if a != b)
        raise UserError(
            f"{ann_file} has its categories in another order than {key} has its classes (label {place} is "
            f"{order[place]!r} in the file and {classes[place]!r} in the config), and labels follow the file, so names "
            f"would be swapped: write metainfo.classes of every data set in the file's order ({_list(order)}), or, "
            "where train and val differ, order one file by swinv2 prepare coco order"
        )


def check_same_classes(datasets: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Training, validation and test data have the same classes in the same order.

    Args:
        datasets: config key and class names of each.

    Raises:
        UserError: two of them differ.
    """
    for key, classes in datasets[1:]:
        first, expected = datasets[0]
        if list(classes) != list(expected):
            pairs = enumerate(itertools.zip_longest(classes, expected))
            place = next(i for i, (name, other) in pairs if name != other)
            raise UserError(
                f"{key} has other classes than {first}, or another order: label {place} is "
                f"{_at(classes, place)} and {_at(expected, place)}; give both the same metainfo.classes"
            )


def check_trained(source: str, trained: Any, key: str, classes: Any) -> None:
    """Labels mean in the data what they mean in the weights.

    Names that stand in the place of others are reported: a class may be called otherwise elsewhere.

    Args:
        source: the weights, and ``trained`` the class names that they hold; None where they hold none.
        classes: of the data, at ``key`` of the config; None where they have none.

    Raises:
        UserError: a class has another label.
    """
    if not (isinstance(trained, (list, tuple)) and isinstance(classes, (list, tuple))):
        return
    differing = [i for i, name in enumerate(classes) if i >= len(trained) or trained[i] != name]
    moved = [i for i in differing if classes[i] in trained]
    if moved:
        raise UserError(
            f"{source} was trained with its classes in another order than {key} has them: label {moved[0]} is "
            f"{_at(trained, moved[0])} in the weights and {classes[moved[0]]!r} in the data; give the data's classes "
            f"the order of the weights' ({_list(trained)})"
        )
    if differing:
        i = differing[0]
        warn(
            f"{source} calls {len(differing)} of its classes otherwise than {key}, the first {_at(trained, i)} instead "
            f"of {classes[i]!r} (label {i}): they are taken for the same"
        )


def warn_of_other_input(source: str, trained: Any, tested: Any, key: str, names: Sequence[str]) -> None:
    """Report entries of ``key`` that are not what the weights were trained with.

    Args:
        trained: what the weights' file says of them, and ``tested`` what the config says; None where that is unknown.
        names: of the entries.
    """
    if not (isinstance(trained, Mapping) and isinstance(tested, Mapping)):
        return
    for name in names:
        was, now = trained.get(name), tested.get(name)
        if _plain(was) != _plain(now):
            warn(f"{source} was trained with {key}.{name}={was}, and the config has {now}: scores will suffer")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _at(names: Sequence[str], place: int) -> str:
    return repr(names[place]) if place < len(names) else "none"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:_LISTED])) + (" ..." if len(names) > _LISTED else "")

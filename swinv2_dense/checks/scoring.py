"""What would score something else than the model on all of the data: images left out, changed by chance or repeated
without end, options of a metric that it does not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import METRICS

from swinv2_dense.checks.classes import class_counts
from swinv2_dense.checks.options import options_of
from swinv2_dense.errors import UserError
from swinv2_dense.suggestions import did_you_mean

__all__ = ["check_loader", "check_metrics", "check_scored", "check_test_cfg", "check_wrappers", "is_scored"]

# Steps that change an image by chance, beside those that say so in their names.
_BY_CHANCE = ("AutoAugment", "ColorJitter", "CopyPaste", "CutOut", "InstaBoost", "MixUp", "Mosaic", "MultiScaleCrop")
_LIBRARIES = ("mmaction", "mmdet", "mmengine", "mmpretrain", "mmseg", "swinv2_dense")
_AVERAGES = ("score", "prob", None)
_MODES = ("slide", "whole")
# Names that an option of a metric may have.
_COCO_ITEMS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
_COCO_RECALLS = ("AR@100", "AR@300", "AR@1000", "AR_s@1000", "AR_m@1000", "AR_l@1000")
_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "IoUMetric": {"iou_metrics": ("mIoU", "mDice", "mFscore")},
    "CocoMetric": {"metric_items": (*_COCO_ITEMS, *_COCO_RECALLS)},
}


def is_scored(evaluator: Any) -> bool:
    """Whether an evaluator compares with annotations; otherwise it only writes predictions."""
    return any(not metric.get("format_only") for metric in _metrics(evaluator))


def check_loader(loader: Any, key: str) -> None:
    """A loader of validation or test data gives every image once.

    Raises:
        UserError: it leaves some out, or does not end.
    """
    if loader.get("drop_last"):
        raise UserError(f"{key}.drop_last=True leaves images out of what is scored: set it to False")
    for name in ("sampler", "batch_sampler"):
        kind = str((loader.get(name) or {}).get("type"))
        if "Infinite" in kind:
            raise UserError(f"{key}.{name}.type={kind!r} never ends: of validation and test data take DefaultSampler")


def check_wrappers(evaluator: Any, evaluator_key: str, dataset: Any, key: str) -> None:
    """What wraps the data sets of a validation or a test gives every image once, and all to one annotation file.

    Raises:
        UserError: images are repeated, or those of several data sets are scored by the ids of one.
    """
    parts = dataset.get("datasets") or ([dataset["dataset"]] if "dataset" in dataset else [])
    if parts and (dataset.get("times", 1) != 1 or str(dataset.get("type")).endswith("ClassBalancedDataset")):
        raise UserError(
            f"{key} ({dataset.get('type')}) repeats images, which would be scored several times: leave it out"
        )
    if len(parts) > 1 and any("ann_file" in metric for metric in _metrics(evaluator)):
        raise UserError(
            f"{key} has {len(parts)} data sets and {evaluator_key} one ann_file: ids of images of one would be taken "
            "for those of another; test on each alone, or write one annotation file of all"
        )
    for part in parts:
        check_wrappers(evaluator, evaluator_key, part, f"{key}.dataset")


def check_scored(evaluator: Any, evaluator_key: str, key: str, dataset: Any, *, cut: bool = False) -> None:
    """A data set of a validation or a test gives all of its images, and the same every time.

    Args:
        cut: to its first images, on purpose, for a run whose scores mean nothing.

    Raises:
        UserError: it leaves some out, puts others in their place, or changes them by chance.
    """
    for index, step in enumerate(dataset.get("pipeline") or ()):
        name = str(step.get("type")).rpartition(".")[2]
        by_chance = ("Random" in name or "Distortion" in name or name in _BY_CHANCE) and step.get("prob", 1)
        if by_chance or (name == "SampleFrames" and not step.get("test_mode")):
            remedy = "set its test_mode=True" if name == "SampleFrames" else "take it out"
            raise UserError(
                f"{key}.pipeline.{index} is {name}, which differs by chance: scores would not be those of the data; "
                f"{remedy}"
            )
    if not dataset.get("test_mode") and (dataset.get("filter_cfg") or str(dataset.get("type")).endswith("VideoClips")):
        raise UserError(f"{key} has no test_mode=True, so that some of its data would not be scored: set it")
    if not cut and dataset.get("indices") is not None and any("ann_file" in metric for metric in _metrics(evaluator)):
        raise UserError(
            f"{key}.indices takes a part of the images, and {evaluator_key} scores all of its ann_file: write an "
            "annotation file of these images, or leave indices out"
        )


def check_metrics(cfg: Config, key: str) -> None:
    """Every metric reads the options that it is given, and can score by them; some find that out after the last image.

    Raises:
        UserError: the first that it does not.
    """
    for metric in _metrics(cfg.get(key)):
        name = metric.get("type")
        with METRICS.switch_scope_and_registry(cfg.get("default_scope")) as registry:
            cls = registry.get(name) if isinstance(name, str) else None
        if cls is None:  # building it says so
            continue
        known = options_of(cls)
        unknown = [option for option in metric if option not in known and option != "type"]
        if unknown and cls.__module__.partition(".")[0] in _LIBRARIES:
            raise UserError(f"{key} ({name}) has no option {unknown[0]!r}: {did_you_mean(unknown[0], known)}")
        _check_values(metric, key, cls.__name__, cfg.model)


def _check_values(metric: Mapping[str, Any], key: str, name: str, model: Any) -> None:
    """What the libraries' metrics look at only after the last image."""
    for option, allowed in _NAMES.get(name, {}).items():
        wanted = metric.get(option) or ()
        for one in [wanted] if isinstance(wanted, str) else wanted:
            if one not in allowed:
                raise UserError(f"{key}.{option} has {one!r}: {did_you_mean(str(one), allowed)}")
    if name == "CocoMetric":
        thresholds = metric.get("iou_thrs")
        for one in (thresholds if isinstance(thresholds, (list, tuple)) else [thresholds]) if thresholds else ():
            if not isinstance(one, (int, float)) or not 0 < one <= 1:
                raise UserError(f"{key}.iou_thrs has {one!r}: give overlaps above 0, to 1")
        proposals = metric.get("proposal_nums", (1, 2, 3))
        if not isinstance(proposals, (list, tuple)) or len(proposals) != 3:
            raise UserError(
                f"{key}.proposal_nums={proposals!r}: COCO's evaluation takes three numbers, (100, 300, 1000)"
            )
        kinds = metric.get("metric", "bbox")
        head = model.get("roi_head")
        if "segm" in ([kinds] if isinstance(kinds, str) else kinds) and head and not head.get("mask_head"):
            raise UserError(f"{key}.metric has 'segm', and the model has no mask head: take it out")
    if name == "Accuracy":
        most = min((count for _, count in class_counts(model, "model")), default=None)
        topk = metric.get("topk", 1)
        for one in [topk] if isinstance(topk, int) else topk:
            if most is not None and isinstance(one, int) and one > most:
                raise UserError(f"{key}.topk has {one}, and the model has {most} classes: give numbers up to that")


def check_test_cfg(cfg: Config) -> None:
    """How a segmenter or a video recogniser predicts, which mmseg and mmaction2 look at only when it does.

    Raises:
        UserError: another mode than slide and whole, no crops to slide, or no such way to average clips.
    """
    head = cfg.model.get("cls_head")
    if cfg.get("default_scope") == "mmaction" and isinstance(head, Mapping):
        average = head.get("average_clips")
        if average not in _AVERAGES:
            raise UserError(f"model.cls_head.average_clips={average!r}: it is one of 'score', 'prob' and None")
    test_cfg = cfg.model.get("test_cfg")
    if cfg.get("default_scope") != "mmseg" or not isinstance(test_cfg, Mapping):
        return
    mode = test_cfg.get("mode", "whole")
    if mode not in _MODES:
        raise UserError(f"model.test_cfg.mode={mode!r}: {did_you_mean(str(mode), _MODES)}")
    if mode == "whole":
        return
    sizes = {name: test_cfg.get(name) for name in ("crop_size", "stride")}
    for name, value in sizes.items():
        if not _is_size(value):
            raise UserError(f"model.test_cfg.{name}={value!r}: mode='slide' needs height and width in pixels")
    if any(step > side for side, step in zip(*sizes.values(), strict=True)):
        raise UserError(
            f"model.test_cfg.stride={sizes['stride']} is larger than crop_size={sizes['crop_size']}: pixels between "
            "the crops would not be predicted"
        )


def _is_size(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) == 2
        and all(type(side) is int and side > 0 for side in value)
    )


def _metrics(evaluator: Any) -> Iterator[Mapping[str, Any]]:
    for metric in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]:
        if isinstance(metric, Mapping):
            yield metric

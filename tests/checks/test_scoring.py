"""What would score something else than the model on all of the data is refused, before anything is built."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from swinv2_dense.checks.scoring import (
    check_loader,
    check_metrics,
    check_scored,
    check_test_cfg,
    check_wrappers,
    is_scored,
)
from swinv2_dense.errors import UserError

COCO = {"type": "CocoMetric", "ann_file": "a.json"}


def scored(dataset: dict[str, Any], evaluator: Any = COCO) -> None:
    check_scored(evaluator, "test_evaluator", "test_dataloader.dataset", ConfigDict(dataset))


@pytest.mark.parametrize(
    "step",
    [
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "RandomFlip", "prob": [0.2, 0.3]},
        {"type": "mmdet.RandomCrop"},
        {"type": "PhotoMetricDistortion"},
        {"type": "swinv2_dense.InstaBoost"},
    ],
)
def test_steps_by_chance_are_named(step: dict[str, Any]) -> None:
    name = step["type"].rpartition(".")[2]
    with pytest.raises(UserError, match=rf"^test_dataloader\.dataset\.pipeline\.1 is {name}, .*take it out"):
        scored({"type": "CocoDataset", "test_mode": True, "pipeline": [{"type": "LoadImageFromFile"}, step]})


def test_clips_are_sampled_in_test_mode() -> None:
    step = {"type": "SampleFrames", "clip_len": 4}
    with pytest.raises(UserError, match=r"is SampleFrames, .* set its test_mode=True"):
        scored({"type": "VideoClips", "test_mode": True, "pipeline": [step]})
    scored({"type": "VideoClips", "test_mode": True, "pipeline": [{**step, "test_mode": True}]})


@pytest.mark.parametrize("kind", [{"type": "CocoDataset", "filter_cfg": {"min_size": 32}}, {"type": "a.VideoClips"}])
def test_data_are_not_left_out(kind: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="has no test_mode=True"):
        scored({**kind, "pipeline": []})
    scored({**kind, "test_mode": True, "pipeline": []})


def test_a_part_of_the_images_is_not_scored_against_all_annotations() -> None:
    with pytest.raises(UserError, match=r"dataset\.indices takes a part .* test_evaluator scores all of its ann_file"):
        scored({"type": "CocoDataset", "test_mode": True, "indices": 2})
    scored({"type": "CocoDataset", "test_mode": True, "indices": 2}, {"type": "Accuracy"})
    dataset = ConfigDict(type="CocoDataset", test_mode=True, indices=2)
    check_scored(COCO, "test_evaluator", "test_dataloader.dataset", dataset, cut=True)


@pytest.mark.parametrize("kind", [{"type": "RepeatDataset", "times": 2}, {"type": "ClassBalancedDataset"}])
def test_images_are_not_scored_several_times(kind: dict[str, Any]) -> None:
    wrapped = ConfigDict(type="ConcatDataset", datasets=[{**kind, "dataset": {"type": "CocoDataset"}}])
    with pytest.raises(UserError, match=r"^a\.dataset .*Dataset.*repeats images"):
        check_wrappers(COCO, "test_evaluator", wrapped, "a")
    once = ConfigDict(type="RepeatDataset", times=1, dataset={"type": "CocoDataset"})
    check_wrappers(COCO, "test_evaluator", once, "a")


def test_one_annotation_file_is_of_one_data_set() -> None:
    """Ids of images are unique in a file alone."""
    two = ConfigDict(type="ConcatDataset", datasets=[{"type": "CocoDataset"}] * 2)
    with pytest.raises(UserError, match="a has 2 data sets and test_evaluator one ann_file"):
        check_wrappers([COCO], "test_evaluator", two, "a")
    check_wrappers({"type": "IoUMetric"}, "test_evaluator", two, "a")


def test_what_stays_the_same_passes() -> None:
    steps = [{"type": "RandomFlip", "prob": 0.0}, {"type": "Resize"}, {"type": "CenterCrop"}]
    scored({"type": "CocoDataset", "test_mode": True, "pipeline": steps})
    check_loader(ConfigDict(batch_size=2, drop_last=False, sampler={"type": "DefaultSampler"}), "val_dataloader")


def test_loaders_give_every_image_once() -> None:
    with pytest.raises(UserError, match=r"test_dataloader\.drop_last=True leaves images out"):
        check_loader(ConfigDict(drop_last=True), "test_dataloader")
    with pytest.raises(UserError, match=r"val_dataloader\.sampler\.type='InfiniteSampler' never ends"):
        check_loader(ConfigDict(sampler={"type": "InfiniteSampler"}), "val_dataloader")


@pytest.mark.parametrize(
    ("evaluator", "wanted"), [(COCO, True), ({**COCO, "format_only": True}, False), (None, False), ([COCO], True)]
)
def test_what_is_only_written_is_not_scored(evaluator: Any, wanted: bool) -> None:
    assert is_scored(evaluator) == wanted


class _Tolerant(BaseMetric):
    """Lets options pass that it does not read, as mmseg's IoUMetric does."""

    def __init__(self, ignore_index: int = 255, prefix: str | None = None, **options: Any) -> None:
        super().__init__(prefix=prefix)


def test_metrics_read_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Tolerant, "__module__", "mmseg.evaluation")
    monkeypatch.setitem(METRICS.module_dict, "Tolerant", _Tolerant)
    metric = {"type": "Tolerant", "ignore_index": 0, "collect_device": "cpu"}
    check_metrics(Config({"model": {}, "val_evaluator": [metric]}), "val_evaluator")
    with pytest.raises(
        UserError, match=r"val_evaluator \(Tolerant\) has no option 'ignore_indx': did you mean 'ignore_index'"
    ):
        check_metrics(Config({"model": {}, "val_evaluator": [{**metric, "ignore_indx": 3}]}), "val_evaluator")
    monkeypatch.setattr(_Tolerant, "__module__", "my_metrics")  # may look at its options by itself
    check_metrics(Config({"model": {}, "val_evaluator": [{**metric, "ignore_indx": 3}]}), "val_evaluator")


@pytest.mark.parametrize(
    ("scope", "metric", "line"),
    [
        (
            "mmseg",
            {"type": "IoUMetric", "iou_metrics": ["mIoU", "mDise"]},
            "iou_metrics has 'mDise': did you mean 'mDice'",
        ),
        ("mmdet", {**COCO, "metric_items": ["mAP", "mAP_5"]}, "metric_items has 'mAP_5': did you mean 'mAP"),
        ("mmdet", {**COCO, "iou_thrs": [0.5, 5]}, "iou_thrs has 5: give overlaps"),
        ("mmdet", {**COCO, "proposal_nums": (1, 2)}, "takes three numbers"),
        ("mmdet", {**COCO, "metric": ["bbox", "segm"]}, "metric has 'segm', and the model has no mask head"),
        ("mmpretrain", {"type": "Accuracy", "topk": (1, 5)}, "topk has 5, and the model has 3 classes"),
    ],
)
def test_what_metrics_find_out_after_the_last_image(scope: str, metric: dict[str, Any], line: str) -> None:
    pytest.importorskip(f"{scope}.evaluation", reason=f"needs {scope}")
    model = {"roi_head": {"bbox_head": {"num_classes": 3}}, "head": {"num_classes": 3}}
    with pytest.raises(UserError, match=rf"^test_evaluator.*{line}"):
        check_metrics(Config({"default_scope": scope, "model": model, "test_evaluator": metric}), "test_evaluator")


def test_metrics_that_can_be_computed() -> None:
    pytest.importorskip("mmdet.evaluation", reason="needs mmdet")
    model = {"roi_head": {"bbox_head": {"num_classes": 3}, "mask_head": {"num_classes": 3}}}
    for options in (
        {},
        {"metric": "segm", "metric_items": ["mAP_s", "AR@100"], "iou_thrs": 0.5},
        {"iou_thrs": [0.5, 1.0]},
    ):
        evaluator = [{**COCO, **options}]
        check_metrics(Config({"default_scope": "mmdet", "model": model, "test_evaluator": evaluator}), "test_evaluator")


def test_clips_are_averaged_in_a_way_that_there_is() -> None:
    def cfg(average: Any) -> Config:
        return Config({"default_scope": "mmaction", "model": {"cls_head": {"average_clips": average}}})

    check_test_cfg(cfg("prob"))
    with pytest.raises(UserError, match=r"model\.cls_head\.average_clips='mean': it is one of"):
        check_test_cfg(cfg("mean"))


@pytest.mark.parametrize(
    ("test_cfg", "line"),
    [
        ({"mode": "whol"}, r"model\.test_cfg\.mode='whol': did you mean 'whole'"),
        ({"mode": "slide", "stride": (8, 8)}, r"model\.test_cfg\.crop_size=None: mode='slide' needs"),
        ({"mode": "slide", "crop_size": 8, "stride": (8, 8)}, r"model\.test_cfg\.crop_size=8: mode='slide' needs"),
        ({"mode": "slide", "crop_size": (8, 8), "stride": (8, 9)}, "stride=.8, 9. is larger than crop_size"),
    ],
)
def test_a_segmenter_predicts_in_a_way_that_there_is(test_cfg: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        check_test_cfg(Config({"default_scope": "mmseg", "model": {"type": "EncoderDecoder", "test_cfg": test_cfg}}))


def test_ways_that_there_are() -> None:
    for test_cfg in ({"mode": "whole"}, {}, {"mode": "slide", "crop_size": [8, 8], "stride": (8, 4)}):
        check_test_cfg(Config({"default_scope": "mmseg", "model": {"type": "EncoderDecoder", "test_cfg": test_cfg}}))

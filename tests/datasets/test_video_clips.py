"""Clips of any kind go through pipeline and model; unreadable ones are counted in training, an error in testing."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("av", reason="needs the video extra")

from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope, init_default_scope
from torch.utils.data import DataLoader

from swinv2_dense.datasets.video_clips import VideoClips
from swinv2_dense.demo.motion_clips import draw_clip, write_mp4
from swinv2_dense.errors import UserError

TRAIN = [
    {"type": "swinv2_dense.OpenClip"},
    {"type": "SampleFrames", "clip_len": 4, "frame_interval": 2, "num_clips": 1},
    {"type": "swinv2_dense.DecodeClip"},
    {"type": "Resize", "scale": (-1, 36)},
    {"type": "RandomResizedCrop"},
    {"type": "Resize", "scale": (32, 32), "keep_ratio": False},
    {"type": "Flip", "flip_ratio": 0.5},
    {"type": "FormatShape", "input_format": "NCTHW"},
    {"type": "PackActionInputs", "meta_keys": ("filename",)},
]


def views(clips: int, crops: int, size: int = 32) -> list[dict[str, Any]]:
    return [
        {"type": "swinv2_dense.OpenClip"},
        {"type": "SampleFrames", "clip_len": 4, "frame_interval": 2, "num_clips": clips, "test_mode": True},
        {"type": "swinv2_dense.DecodeClip"},
        {"type": "Resize", "scale": (-1, size)},
        {"type": "swinv2_dense.SpreadCrops", "size": size, "count": crops},
        {"type": "FormatShape", "input_format": "NCTHW"},
        {"type": "PackActionInputs", "meta_keys": ("filename",)},
    ]


@pytest.fixture(autouse=True)
def _scope(monkeypatch: pytest.MonkeyPatch) -> None:
    import swinv2_dense.datasets.video_crops  # noqa: F401

    monkeypatch.setattr(DefaultScope, "_instance_dict", type(DefaultScope._instance_dict)())
    init_default_scope("mmaction")


# name -> frames, height, width
CLIPS = {
    "usual.mp4": (16, 64, 96),
    "frames dropped.mp4": (5, 64, 96),
    "one_frame.mp4": (1, 64, 64),
    "odd.mp4": (9, 71, 83),
    "portrait.mp4": (9, 128, 64),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    for name, (frames, height, width) in CLIPS.items():
        large = draw_clip(np.random.default_rng(0), "left", frames, 128)
        write_mp4(root / name, [frame[:height, :width] for frame in large])
    (root / "empty.mp4").write_bytes(b"")
    (root / "cut.mp4").write_bytes((root / "usual.mp4").read_bytes()[:2000])
    (root / "text.mp4").write_text("no video")
    return root


def make(folder: Path, names: list[str], pipeline: list | None = None, **options: Any) -> VideoClips:
    (folder / "list.txt").write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    return VideoClips(
        ann_file="list.txt",
        data_root=str(folder),
        data_prefix={"video": ""},
        pipeline=TRAIN if pipeline is None else pipeline,
        num_classes=3,
        **options,
    )


def recognizer(**test_cfg: Any) -> torch.nn.Module:
    return ROOT_MODELS.build(
        {
            "type": "mmaction.Recognizer3D",
            "data_preprocessor": {
                "type": "mmaction.ActionDataPreprocessor",
                "mean": [120.0] * 3,
                "std": [60.0] * 3,
                "format_shape": "NCTHW",
            },
            "backbone": {
                "type": "swinv2_dense.VideoSwinTransformerV2",
                "arch": {"embed_dims": 8, "depths": (1, 1, 1, 2), "num_heads": (1, 1, 2, 2)},
                "window_size": (2, 4, 4),
                "out_indices": 3,
            },
            "cls_head": {"type": "mmaction.I3DHead", "in_channels": 64, "num_classes": 3, "average_clips": "prob"},
            "test_cfg": test_cfg or None,
        }
    )


@pytest.mark.parametrize("name", CLIPS)
def test_every_kind_of_clip_is_learnt_from_and_tested(folder: Path, name: str) -> None:
    model = recognizer()
    batch = [make(folder, [name])[0] for _ in range(2)]
    assert all(sample["inputs"].shape == (1, 3, 4, 32, 32) for sample in batch)
    data = model.data_preprocessor(
        {"inputs": [s["inputs"] for s in batch], "data_samples": [s["data_samples"] for s in batch]}, True
    )
    loss = model(**data, mode="loss")["loss_cls"]
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    tested = make(folder, [name], views(2, 3), test_mode=True)[0]
    assert tested["inputs"].shape == (6, 3, 4, 32, 32)
    score = predict(model, tested)
    assert score.shape == (3,)
    torch.testing.assert_close(score.sum(), torch.tensor(1.0))


@torch.no_grad()
def predict(model: torch.nn.Module, *samples: dict[str, Any]) -> torch.Tensor:
    data = {"inputs": [s["inputs"] for s in samples], "data_samples": [s["data_samples"] for s in samples]}
    scores = [sample.pred_score for sample in model.eval().test_step(data)]
    return scores[0] if len(scores) == 1 else torch.stack(scores)


def test_one_view_is_plain_testing(folder: Path) -> None:
    model = recognizer()
    one = make(folder, ["usual.mp4"], views(1, 1), test_mode=True)[0]
    centre = [{"type": "CenterCrop", "crop_size": 32} if "Spread" in t["type"] else t for t in views(1, 1)]
    plain = make(folder, ["usual.mp4"], centre, test_mode=True)[0]
    assert torch.equal(one["inputs"], plain["inputs"])
    expected = predict(model, plain)
    for views_at_once in (1, 4):
        model.test_cfg = {"max_testing_views": views_at_once}
        assert torch.equal(predict(model, one), expected)


def test_the_score_of_several_views_is_the_mean_of_their_probabilities(folder: Path) -> None:
    model = recognizer()
    sample = make(folder, ["usual.mp4"], views(2, 5), test_mode=True)[0]
    assert sample["inputs"].shape == (10, 3, 4, 32, 32)
    with torch.no_grad():  # a head that tells the views apart
        features = model.eval().backbone(sample["inputs"] / 60.0 - 2).mean(dim=(2, 3, 4))
        model.cls_head.fc_cls.weight.copy_(torch.linalg.svd(features - features.mean(0)).Vh[:3] * 20)
        model.cls_head.fc_cls.bias.copy_(-model.cls_head.fc_cls.weight @ features.mean(0))
    singles = torch.stack([predict(model, {**sample, "inputs": view[None]}) for view in sample["inputs"]])
    assert singles.std(dim=0).max() > 1e-2
    torch.testing.assert_close(predict(model, sample), singles.mean(dim=0))


def test_max_testing_views_bounds_what_the_backbone_sees_at_once(folder: Path) -> None:
    model = recognizer()
    sample = make(folder, ["usual.mp4"], views(2, 5), test_mode=True)[0]
    expected, seen = predict(model, sample), []
    model.backbone.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])))
    model.test_cfg = {"max_testing_views": 4}
    torch.testing.assert_close(predict(model, sample), expected)
    assert seen == [4, 4, 2]


@pytest.mark.parametrize("name", ["empty.mp4", "cut.mp4", "text.mp4", "absent.mp4"])
def test_an_unreadable_clip_is_replaced_in_training_and_named_in_testing(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(
        "swinv2_dense.datasets.video_clips.print_log",
        lambda text, logger, level: lines.append(text) if level == logging.WARNING else None,
    )
    clips = make(folder, ["usual.mp4", name, "odd.mp4"], max_unreadable=0.5)
    for _ in range(3):
        assert clips[1]["data_samples"].filename != str(folder / name)
    assert len(lines) == 1  # not once a time
    assert f"skipped clip {folder / name}" in lines[0]
    assert "1 of 1 so far" in lines[0]
    with pytest.raises(UserError, match=rf"{name} cannot be decoded .*list\.txt"):
        make(folder, [name], test_mode=True)[0]


def test_more_unreadable_clips_than_allowed_are_an_error(folder: Path) -> None:
    names = [name for _ in range(3) for name in ("usual.mp4", "empty.mp4", "odd.mp4", "text.mp4")]
    clips = make(folder, names, max_unreadable=0.3)  # 3 of the 12 may be
    for index in (1, 3, 5):
        assert clips.prepare_data(index) is None
    with pytest.raises(UserError, match=r"4 of 4 clips cannot be decoded.*max_unreadable=0.3.*prepare kinetics400"):
        clips.prepare_data(7)


def test_the_default_share_lets_one_in_forty_pass(folder: Path) -> None:
    assert make(folder, ["usual.mp4"] * 39 + ["empty.mp4"])[39] is not None
    with pytest.raises(UserError, match="1 of 1 clips"):
        make(folder, ["usual.mp4"] * 10 + ["empty.mp4"])[10]


def test_reader_processes_count_together(folder: Path) -> None:
    names = ["usual.mp4", "empty.mp4", "text.mp4", "cut.mp4"] * 4
    clips = make(folder, names, max_unreadable=0.75)
    fork = multiprocessing.get_context("fork")
    for _ in DataLoader(clips, batch_size=4, num_workers=2, collate_fn=list, multiprocessing_context=fork):
        pass
    assert (clips.states == 2).sum() == 12
    strict = make(folder, names, max_unreadable=0.7)
    with pytest.raises(UserError, match="12 of"):
        for _ in DataLoader(strict, batch_size=4, num_workers=2, collate_fn=list, multiprocessing_context=fork):
            pass


def test_other_mistakes_are_not_taken_for_unreadable_clips(folder: Path) -> None:
    without_sampling = [t for t in TRAIN if t["type"] != "SampleFrames"]
    with pytest.raises(KeyError, match="frame_inds"):
        make(folder, ["usual.mp4"], without_sampling)[0]
    with pytest.raises(UserError, match="SpreadCrops"):
        make(folder, ["usual.mp4"], [t for t in views(1, 5, 600) if t["type"] != "Resize"])[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("usual.mp4 0\nodd.mp4\n", r"list.txt, line 2: 'odd.mp4' is not a path and a label"),
        ("usual.mp4 zero\n", "line 1"),
        ("usual.mp4 -1\n", "line 1"),
        ("\n", r"list.txt lists no clips"),
        ("usual.mp4 3\n", r"label 3 is beyond num_classes=3"),
    ],
)
def test_mistakes_in_lists_are_named(folder: Path, lines: str, message: str) -> None:
    (folder / "list.txt").write_text(lines)
    with pytest.raises(UserError, match=message):
        VideoClips("list.txt", data_root=str(folder), data_prefix={"video": ""}, pipeline=TRAIN, num_classes=3)


def test_lists_may_have_spaces_in_paths_and_empty_lines(folder: Path) -> None:
    (folder / "list.txt").write_text("\nframes dropped.mp4 2\n\n")
    clips = VideoClips("list.txt", data_root=str(folder), data_prefix={"video": ""}, pipeline=TRAIN, num_classes=3)
    assert len(clips) == 1
    assert clips[0]["data_samples"].gt_label.tolist() == [2]


def test_a_part_of_the_data_set_and_a_copy_in_another_process_work(folder: Path) -> None:
    clips = make(folder, ["usual.mp4", "empty.mp4", "odd.mp4"], indices=2, max_unreadable=0.5)
    assert len(clips) == len(clips.states) == 2
    assert clips.prepare_data(1) is None
    assert pickle.loads(pickle.dumps(clips))[0]["inputs"].shape == (1, 3, 4, 32, 32)

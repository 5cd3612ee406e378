"""Strips show frames of the middle view in order, tell right from wrong, and are written for every tested clip."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from swinv2_dense.visualization.clip_strips import ClipStripsHook, Strip, draw_strips

CLASSES = ("left", "right", "up")


def sample(truth: int, scores: list[float], name: str = "folder/a.mp4") -> SimpleNamespace:
    """Stands for mmaction2's ActionDataSample."""
    score = torch.tensor(scores)
    return SimpleNamespace(
        gt_label=torch.tensor([truth]), pred_label=score.argmax().reshape(1), pred_score=score, filename=name
    )


def views(count: int, frames: int) -> torch.Tensor:
    """Every pixel of view v, frame t is 10 v + t."""
    values = 10 * torch.arange(count)[:, None] + torch.arange(frames)
    return values[:, None, :, None, None].expand(-1, 3, -1, 6, 8).to(torch.uint8)


def test_a_strip_is_taken_evenly_from_the_middle_view() -> None:
    strip = Strip.of(views(5, 7).numpy(), sample(1, [0.1, 0.2, 0.7]), CLASSES, count=4)
    assert strip.frames.shape == (4, 6, 8, 3)
    assert strip.frames[:, 0, 0, 0].tolist() == [20, 22, 24, 26]
    assert (strip.truth, strip.predicted, round(strip.score, 3)) == ("right", "up", 0.7)
    short = Strip.of(views(1, 2).numpy(), sample(1, [0.1, 0.9, 0.0]), None)
    assert len(short.frames) == 2
    assert (short.truth, short.predicted) == ("class 1", "class 1")


def test_right_is_green_and_wrong_is_red(tmp_path: Path) -> None:
    frames = np.zeros((2, 6, 8, 3), np.uint8)
    for predicted, colour in (("left", "tab:green"), ("right", "tab:red")):
        draw_strips([Strip(frames, "left", predicted, 0.5)], tmp_path / "strips.png")
        image = cv2.cvtColor(cv2.imread(str(tmp_path / "strips.png")), cv2.COLOR_BGR2RGB) / 255
        for tried in ("tab:green", "tab:red"):
            near = np.abs(image - to_rgb(tried)).max(axis=2) < 0.05
            assert near.any() == (tried == colour)
    assert [path.name for path in tmp_path.iterdir()] == ["strips.png"]


def test_clips_of_different_sizes_and_lengths_share_a_image(tmp_path: Path) -> None:
    strips = [Strip(np.zeros(shape, np.uint8), "a", "a", 1.0) for shape in ((1, 6, 8, 3), (3, 20, 4, 3))]
    draw_strips(strips, tmp_path / "new" / "strips.png")
    assert cv2.imread(str(tmp_path / "new" / "strips.png")) is not None


@pytest.mark.parametrize("classes", [CLASSES, "a file that was not found"])
def test_the_hook_writes_one_image_for_every_clip(tmp_path: Path, classes: object) -> None:
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo={"classes": classes})))
    samples = [sample(0, [0.9, 0.1, 0.0], f"{kind}/00.mp4") for kind in ("left", "right")]
    batch = {"inputs": [views(1, 4), views(20, 4)]}
    ClipStripsHook(test_out_dir=str(tmp_path)).after_test_iter(runner, 0, batch, samples)
    assert not list(tmp_path.iterdir())
    ClipStripsHook(draw=True, test_out_dir=str(tmp_path)).after_test_iter(runner, 0, batch, samples)
    assert {path.name for path in tmp_path.iterdir()} == {"left_00.png", "right_00.png"}


def test_the_hook_shows_clips_in_the_runners_window() -> None:
    shown = []
    runner = SimpleNamespace(
        test_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo={})),
        visualizer=SimpleNamespace(show=lambda image, wait_time: shown.append((image.shape[2], wait_time))),
    )
    hook = ClipStripsHook(draw=True, show=True, wait_time=0.5)
    hook.after_test_iter(runner, 0, {"inputs": [views(1, 4)]}, [sample(0, [1.0, 0.0])])
    assert shown == [(3, 0.5)]

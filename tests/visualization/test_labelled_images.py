"""Every tested image is drawn under its class and the predicted one, in the folder of its class."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from swinv2_dense.visualization.labelled_images import LabelledImagesHook, draw_labelled


class Sample(SimpleNamespace):
    """Stands for mmpretrain's DataSample."""

    def get(self, key: str) -> Any:
        return getattr(self, key, None)


def batch(root: Path) -> tuple[SimpleNamespace, list[Sample]]:
    """A runner, and predictions on an image of each of two classes; both images have one name."""
    samples = []
    for label, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True)
        cv2.imwrite(str(root / name / "1.jpg"), np.full((30, 40, 3), 200, np.uint8))
        score = torch.tensor([0.7, 0.3])
        samples.append(
            Sample(
                img_path=str(root / name / "1.jpg"),
                gt_label=torch.tensor([label]),
                pred_label=torch.tensor([0]),
                pred_score=score,
            )
        )
    dataset = SimpleNamespace(metainfo={"classes": ("ant", "bee")}, data_prefix={"img_path": str(root)})
    windows: list[Any] = []
    visualizer = SimpleNamespace(
        show=lambda image, wait_time: windows.append((image.shape[2], wait_time)), seen=windows
    )
    return SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset), visualizer=visualizer), samples


def test_the_hook_draws_every_image(tmp_path: Path) -> None:
    runner, samples = batch(tmp_path / "data")
    out = tmp_path / "out"
    LabelledImagesHook(test_out_dir=str(out)).after_test_iter(runner, 0, {}, samples)
    assert not out.exists()
    LabelledImagesHook(draw=True, test_out_dir=str(out)).after_test_iter(runner, 0, {}, samples)
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.png")) == ["ant/1.png", "bee/1.png"]
    for name, colour, other in (("ant", "tab:green", "tab:red"), ("bee", "tab:red", "tab:green")):
        drawn = cv2.cvtColor(cv2.imread(str(out / name / "1.png")), cv2.COLOR_BGR2RGB) / 255
        assert (np.abs(drawn - to_rgb(colour)).max(axis=2) < 0.05).any()
        assert not (np.abs(drawn - to_rgb(other)).max(axis=2) < 0.05).any()


def test_the_hook_shows_images_in_the_runners_window(tmp_path: Path) -> None:
    runner, samples = batch(tmp_path)
    LabelledImagesHook(draw=True, show=True, wait_time=0.5).after_test_iter(runner, 0, {}, samples)
    assert runner.visualizer.seen == [(3, 0.5)] * 2


@pytest.mark.parametrize("shape", [(1, 1, 3), (3000, 2, 3), (2, 3000, 3)])
def test_any_size(shape: tuple[int, int, int], tmp_path: Path) -> None:
    draw_labelled(np.zeros(shape, np.uint8), "", "ant", 0.5, tmp_path / "a.png")
    assert cv2.imread(str(tmp_path / "a.png")).size < 50e6

"""The ways of predicting that users of OpenMMLab know work on our configs and checkpoints, and agree with ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from swinv2_dense import Predictor
from tests.inference.conftest import Run

RunOf = Callable[[str], Run]


def test_mmdet(run_of: RunOf, folder: Path) -> None:
    run = run_of("detection")
    from mmdet.apis import DetInferencer, inference_detector, init_detector

    image = str(folder / "a.png")
    ours = Predictor(run.checkpoint, score=0.0, device="cpu")(image)
    model = init_detector(str(run.config), str(run.checkpoint), device="cpu")
    found = inference_detector(model, image).pred_instances
    assert np.allclose(np.sort(found.scores.numpy())[::-1], ours.scores, atol=1e-5)
    assert found.masks.shape == (5, 60, 80)
    inferencer = DetInferencer(model=str(run.config), weights=str(run.checkpoint), device="cpu", show_progress=False)
    (prediction,) = inferencer(image)["predictions"]
    assert np.allclose(sorted(prediction["scores"], reverse=True), ours.scores, atol=1e-5)


def test_mmseg(run_of: RunOf, folder: Path) -> None:
    run = run_of("segmentation")
    from mmseg.apis import MMSegInferencer, inference_model, init_model

    image = str(folder / "a.png")
    ours = Predictor(run.checkpoint, device="cpu")(image)
    model = init_model(str(run.config), str(run.checkpoint), device="cpu")
    assert np.array_equal(inference_model(model, image).pred_sem_seg.data[0].numpy(), ours.map)
    inferencer = MMSegInferencer(str(run.config), weights=str(run.checkpoint), device="cpu")
    assert np.array_equal(inferencer(image)["predictions"], ours.map)


def test_mmaction(run_of: RunOf, video: Path) -> None:
    run = run_of("video")
    from mmaction.apis import inference_recognizer, init_recognizer

    ours = Predictor(run.checkpoint, device="cpu")(video)
    model = init_recognizer(str(run.config), str(run.checkpoint), device="cpu")
    found = inference_recognizer(model, str(video))
    assert np.allclose(found.pred_score.numpy(), ours.probabilities, atol=1e-5)


def test_mmpretrain(run_of: RunOf, folder: Path) -> None:
    run = run_of("classification")
    from mmpretrain import ImageClassificationInferencer

    ours = Predictor(run.checkpoint, device="cpu")(folder / "a.png")
    inferencer = ImageClassificationInferencer(str(run.config), pretrained=str(run.checkpoint), device="cpu")
    (found,) = inferencer(str(folder / "a.png"))
    assert found["pred_label"] == ours.labels[0]
    assert found["pred_class"] == ours.names[0]
    assert np.allclose(found["pred_scores"], ours.probabilities, atol=1e-5)

"""Grad-CAM equals what plain autograd gives: equations 1 and 2 with loops, on models cut open stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor
from torchvision.ops import box_iou

from swinv2_dense.errors import UserError
from swinv2_dense.inference import get_model
from swinv2_dense.inference.model_loading import LoadedModel, load_model
from swinv2_dense.inference.pipelines import composed, entry
from swinv2_dense.visualization.answers import answers
from swinv2_dense.visualization.grad_cam import Explanation, backbone_of, grad_cam, seen_by
from tests.inference.conftest import Run

RunOf = Callable[[str], Run]


def loaded_and_prepared(run_of: RunOf, task: str, image: np.ndarray) -> tuple[LoadedModel, Any]:
    loaded = load_model(run_of(task).checkpoint, device="cpu")
    return loaded, composed(loaded)(entry(image, "image"))


class Opened:
    """The model with every stage's map kept, by running the backbone's parts one after another."""

    def __init__(self, loaded: LoadedModel, prepared: Any) -> None:
        self.model: Any = loaded.model
        data = self.model.data_preprocessor(pseudo_collate([prepared]), False)
        self.samples, backbone = data["data_samples"], self.model.backbone
        self.maps: list[Tensor] = []
        outputs = []
        x = backbone.patch_embed(data["inputs"])
        for i, layer in enumerate(backbone.layers):
            for block in layer.blocks:
                x = block(x)
            last = i == len(backbone.layers) - 1
            if not last:
                self.maps.append(x)
            if i in backbone.out_indices:
                normed = getattr(backbone, f"norm{i}")(x)
                outputs.append(normed.permute(0, 3, 1, 2))
            if last:
                self.maps.append(normed)
            else:
                x = layer.downsample(x)
        self.features = tuple(outputs)

    def cam(self, score: Tensor, stage: int) -> np.ndarray:
        """Equations 1 and 2, channel by channel."""
        (gradient,) = torch.autograd.grad(score, self.maps[stage], retain_graph=True)
        height, width, channels = self.maps[stage].shape[1:]
        total = torch.zeros(height, width)
        for c in range(channels):
            weight = sum(gradient[0, y, x, c] for y in range(height) for x in range(width)) / (height * width)
            total += weight * self.maps[stage][0, :, :, c].detach()
        return np.maximum(total.numpy(), 0)


def compare(found: Explanation, opened: Opened, score: Tensor) -> None:
    assert sorted(found.cams) == [0, 1, 2, 3]
    for stage, cam in found.cams.items():
        wanted = opened.cam(score, stage)
        assert cam.shape == found.sizes[stage] == wanted.shape
        np.testing.assert_allclose(cam, wanted, rtol=2e-3, atol=1e-4 * max(float(wanted.max()), 1e-12))
    assert any(cam.any() for cam in found.cams.values())


@pytest.mark.parametrize("label", [None, 0, 2])
def test_a_classifier(run_of: RunOf, image: np.ndarray, label: int | None) -> None:
    loaded, prepared = loaded_and_prepared(run_of, "classification", image)
    found = grad_cam(loaded, prepared, label=label)
    opened = Opened(loaded, prepared)
    logits = opened.model.head((opened.model.neck(opened.features)[-1],))[0]
    assert found.label == (int(logits.argmax()) if label is None else label)
    assert found.reason == f"probability {logits.softmax(0)[found.label].item():.2f}"
    compare(found, opened, logits[found.label])
    # behind the last norm come only a mean and a matrix: there Grad-CAM is the class activation map
    weights = opened.model.head.fc.weight[found.label].detach()
    features = opened.features[-1][0].detach()
    activation = torch.einsum("c,chw->hw", weights, features).relu() / features[0].numel()
    np.testing.assert_allclose(found.cams[3], activation.numpy(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("label", [None, 3])
def test_a_segmenter(run_of: RunOf, image: np.ndarray, label: int | None) -> None:
    loaded, prepared = loaded_and_prepared(run_of, "segmentation", image)
    found = grad_cam(loaded, prepared, label=label)
    opened = Opened(loaded, prepared)
    logits = opened.model.decode_head(opened.features)[0]  # C x h x w
    likeliest = logits.argmax(0)
    assert found.label == (int(likeliest.flatten().mode().values) if label is None else label)
    region = likeliest == found.label
    assert found.region is not None
    if region.any():
        np.testing.assert_array_equal(found.region, region.numpy())
    else:
        assert found.region.all() and found.reason == "predicted nowhere, all pixels count"
        region = torch.ones_like(region)
    compare(found, opened, logits[found.label][region].mean())


@pytest.mark.parametrize("label", [None, 0, 1, 2, 3])
def test_a_detector(run_of: RunOf, image: np.ndarray, label: int | None) -> None:
    """HTC: the mean of its heads' logits, as mmdet's own forward of the head gives it, one box an object."""
    loaded, prepared = loaded_and_prepared(run_of, "detection", image)
    found = grad_cam(loaded, prepared, label=label)
    opened = Opened(loaded, prepared)
    model = opened.model
    maps = model.neck(opened.features)
    proposals = model.rpn_head.predict(maps, opened.samples, rescale=False)
    (logits, *_), *_ = model.roi_head.forward(maps, proposals, opened.samples)
    probabilities = logits.detach().softmax(1)[:, :-1]
    best = probabilities.max(0).values
    assert found.label == (int(best.argmax()) if label is None else label)
    assert found.boxes is not None
    of_class = probabilities[:, found.label]
    boxes = answers(loaded, model.data_preprocessor(pseudo_collate([prepared]))["inputs"], opened.samples, (0, 0)).boxes
    assert boxes is not None
    kept = [int(of_class.argmax())]
    if float(of_class.max()) >= 0.3:
        kept = []
        for row in of_class.argsort(descending=True).tolist():
            mine = boxes[row, found.label][None]
            if of_class[row] >= 0.3 and not any(box_iou(mine, boxes[k, found.label][None]) > 0.5 for k in kept):
                kept.append(row)
    np.testing.assert_allclose(found.boxes, boxes[kept, found.label].numpy(), atol=1e-3)
    compare(found, opened, logits[kept, found.label].mean())
    if label is None:  # boxes are those that mmdet predicts
        with torch.no_grad():
            predicted = model.roi_head.predict(maps, proposals, opened.samples, rescale=False)[0]
        own = predicted.bboxes[predicted.labels == found.label].numpy()
        assert np.abs(own - found.boxes[0]).max(1).min() < 1e-2


def test_a_clip(run_of: RunOf, video: Path) -> None:
    loaded = load_model(run_of("video").checkpoint, device="cpu")
    prepared = composed(loaded)({"filename": str(video), "label": -1, "start_index": 0, "modality": "RGB"})
    clip = prepared["inputs"]
    prepared["inputs"] = torch.cat([clip * 0, clip, clip // 2])  # the view in the middle counts
    found = grad_cam(loaded, prepared)
    assert found.sizes == ((2, 16, 16), (2, 8, 8), (2, 4, 4), (2, 2, 2))
    assert {stage: cam.shape for stage, cam in found.cams.items()} == dict(enumerate(found.sizes))
    model: Any = loaded.model
    data = model.data_preprocessor(pseudo_collate([{**prepared, "inputs": clip}]), False)
    features = model.backbone(data["inputs"][0])
    logits = model.cls_head.fc_cls(features.mean((2, 3, 4)))[0]
    assert found.label == int(logits.argmax())
    weights = model.cls_head.fc_cls.weight[found.label]
    activation = torch.einsum("c,cthw->thw", weights, features[0]).relu() / features[0, 0].numel()
    np.testing.assert_allclose(found.cams[3], activation.detach().numpy(), rtol=1e-3, atol=1e-6)
    frames = seen_by(loaded, prepared)
    assert frames.shape == (4, 64, 64, 3)
    np.testing.assert_array_equal(frames, clip[0].permute(1, 2, 3, 0).numpy())


def test_what_a_model_sees(run_of: RunOf, image: np.ndarray) -> None:
    loaded, prepared = loaded_and_prepared(run_of, "segmentation", image)
    np.testing.assert_array_equal(seen_by(loaded, prepared), image[..., ::-1])


@pytest.fixture
def third_stage() -> LoadedModel:
    """A classifier whose head takes the third stage's map: the fourth has no say."""
    pytest.importorskip("mmpretrain", reason="needs mmpretrain")
    from mmengine.config import Config

    from tests.inference.conftest import CLASSIFICATION

    text = CLASSIFICATION.replace("out_indices=(3,)", "out_indices=(2,)").replace("in_channels=64", "in_channels=32")
    model: Any = get_model(Config.fromstring(text, ".py"), device="cpu")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return load_model(model)


def test_a_stage_without_a_say_is_empty(third_stage: LoadedModel, image: np.ndarray) -> None:
    found = grad_cam(third_stage, composed(third_stage)(entry(image, "image")))
    assert not found.cams[3].any()
    assert found.cams[2].any()


def test_the_model_is_left_as_it_was(run_of: RunOf, image: np.ndarray) -> None:
    loaded, prepared = loaded_and_prepared(run_of, "detection", image)
    wanted = grad_cam(loaded, prepared, [1])
    loaded.model.requires_grad_(False)  # frozen ones are explained too
    with torch.inference_mode(False), torch.no_grad():
        found = grad_cam(loaded, prepared, [1])
    np.testing.assert_allclose(found.cams[1], wanted.cams[1], rtol=1e-4, atol=1e-12)
    assert list(found.cams) == [1]
    for module in loaded.model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert all(parameter.grad is None for parameter in loaded.model.parameters())


def test_mistakes(run_of: RunOf, image: np.ndarray) -> None:
    loaded, prepared = loaded_and_prepared(run_of, "classification", image)
    with pytest.raises(UserError, match="no stage 4: this backbone has stages 0 to 3"):
        grad_cam(loaded, prepared, [1, 4])
    with pytest.raises(UserError, match="no stage -1"):
        grad_cam(loaded, prepared, [-1])
    with pytest.raises(UserError, match="no class 3: this model has classes 0 to 2"):
        grad_cam(loaded, prepared, label=3)
    with pytest.raises(UserError, match="SimMIM knows no classes"):
        backbone_of(load_model(run_of("simmim").checkpoint, device="cpu"))
    loaded.model.backbone = torch.nn.Identity()
    with pytest.raises(UserError, match="needs a SwinV2 backbone, and this model's is Identity"):
        grad_cam(loaded, prepared)

"""What a model answers, place by place: which places speak for a class, and every kind of model that is read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from swinv2_dense.config_files import find_config
from swinv2_dense.errors import UserError
from swinv2_dense.inference.model_loading import LoadedModel, load_model
from swinv2_dense.inference.pipelines import composed, entry
from swinv2_dense.visualization.answers import Answers, answers, choose
from swinv2_dense.visualization.grad_cam import grad_cam


def of_probabilities(values: Any, **options: Any) -> Answers:
    probabilities = torch.tensor(values)
    return Answers(probabilities.logit(), probabilities, **options)


def test_of_an_image_the_likeliest_class() -> None:
    chosen = choose(of_probabilities([[0.2, 0.7, 0.1]]))
    assert (chosen.label, chosen.rows.tolist(), chosen.reason) == (1, [0], "probability 0.70")
    assert choose(of_probabilities([[0.2, 0.7, 0.1]]), 2).reason == "probability 0.10"


@pytest.mark.parametrize(
    ("probability", "said"), [(0.996, "1.00"), (0.014, "0.01"), (0.0042, "0.004"), (2.2e-6, "2e-06"), (0.0, "0")]
)
def test_small_probabilities_are_not_rounded_to_none(probability: float, said: str) -> None:
    assert choose(of_probabilities([[1 - probability, probability]]), 1).reason == f"probability {said}"


def test_of_pixels_the_class_that_has_most() -> None:
    found = of_probabilities([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]], size=(2, 2))
    chosen = choose(found)
    assert (chosen.label, chosen.rows.tolist(), chosen.reason) == (1, [1, 2, 3], "75% of the pixels")
    assert choose(found, 0).rows.tolist() == [0]
    nowhere = choose(of_probabilities([[0.9, 0.1], [0.8, 0.2]], size=(1, 2)), 1)
    assert (nowhere.rows.tolist(), nowhere.reason) == ([0, 1], "predicted nowhere, all pixels count")


def test_of_boxes_one_an_object() -> None:
    first, same, other = [0.0, 0, 10, 10], [1.0, 0, 11, 10], [40.0, 40, 50, 50]
    boxes = torch.tensor([first, same, other, first])[:, None].expand(-1, 2, -1)
    found = of_probabilities([[0.6, 0.1], [0.8, 0.1], [0.4, 0.05], [0.1, 0.2]], boxes=boxes)
    chosen = choose(found)
    assert (chosen.label, chosen.rows.tolist(), chosen.reason) == (0, [1, 2], "2 boxes, the surest 0.80")
    unsure = choose(found, 1)
    assert (unsure.rows.tolist(), unsure.reason) == ([3], "no box from 0.3 on, the likeliest has 0.20")
    one = choose(of_probabilities([[0.6], [0.1]], boxes=boxes[:2, :1]))
    assert (one.rows.tolist(), one.reason) == ([0], "a box of 0.60")


@pytest.mark.parametrize("options", [{}, {"size": (1, 1)}, {"boxes": torch.zeros(1, 2, 4)}])
@pytest.mark.parametrize("label", [-1, 2])
def test_a_class_that_is_not_there(options: dict[str, Any], label: int) -> None:
    with pytest.raises(UserError, match=f"no class {label}: this model has classes 0 to 1"):
        choose(of_probabilities([[0.5, 0.5]], **options), label)


class Fixed(nn.Module):
    """A model that answers what it is given."""

    def __init__(self, output: Any, **parts: Any) -> None:
        super().__init__()
        self.output = output
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *_: Any, **__: Any) -> Any:
        return self.output


def loaded(task: str, output: Any, **parts: Any) -> LoadedModel:
    return LoadedModel(Fixed(output, **parts), SimpleNamespace(), "", task, [], "cpu")  # type: ignore[arg-type]


def test_labels_that_exclude_none_have_probabilities_of_their_own() -> None:
    head = type("MultiLabelLinearClsHead", (nn.Module,), {})()
    logits = torch.tensor([[2.0, 1.0, -1.0]])
    found = answers(loaded("classification", logits, head=head), torch.zeros(1, 3, 8, 8), None, (8, 8))
    assert torch.equal(found.probabilities, logits.sigmoid())


def test_foreground_alone_wins_from_the_heads_threshold_on() -> None:
    logits = torch.tensor([[0.2, 0.4], [0.6, 0.8]]).logit()[None, None]
    model = loaded("segmentation", logits, decode_head=SimpleNamespace(threshold=0.3))
    found = answers(model, torch.zeros(1, 3, 8, 8), None, (8, 8))
    assert choose(found, 1).rows.tolist() == [1, 2, 3]
    assert choose(found, 0).rows.tolist() == [0]
    assert torch.equal(found.logits[:, 1], logits.flatten())
    assert torch.equal(found.logits[:, 0], -logits.flatten())


def test_pixels_of_the_padding_do_not_count() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    logits[0, 1, 3:] = 1  # below the image
    logits[0, 1, :, 2:] = 1  # beside it
    found = answers(loaded("segmentation", logits), torch.zeros(1, 3, 16, 16), None, (12, 7))
    assert found.size == (3, 2)
    assert choose(found).reason == "100% of the pixels"


@pytest.mark.parametrize(
    ("task", "output"), [("segmentation", ([torch.zeros(1, 5, 3)],)), ("detection", ([torch.zeros(1, 8, 4, 4)],) * 3)]
)
def test_models_of_another_kind_are_refused(task: str, output: Any) -> None:
    model = loaded(task, output, decode_head=nn.Identity())
    with pytest.raises(UserError, match="is not supported: it "):
        answers(model, torch.zeros(1, 3, 8, 8), None, (8, 8))


def sample(height: int, width: int) -> Any:
    return [SimpleNamespace(metainfo={"img_shape": (height, width)})]


def test_boxes_of_queries() -> None:
    """DINO's, of every layer of the decoder: the last counts, in shares of the image."""
    logits = torch.randn(3, 1, 2, 5)
    boxes = torch.rand(3, 1, 2, 4)
    boxes[-1, 0, 0] = torch.tensor([0.5, 0.5, 0.2, 0.4])
    found = answers(loaded("detection", (logits, boxes)), torch.zeros(1, 3, 64, 128), sample(50, 100), (50, 100))
    assert torch.equal(found.logits, logits[-1, 0])
    assert torch.equal(found.probabilities, logits[-1, 0].sigmoid())
    assert found.boxes is not None and found.boxes.shape == (2, 5, 4)
    torch.testing.assert_close(found.boxes[0, 3], torch.tensor([40.0, 15, 60, 35]))


def test_masks_of_queries() -> None:
    """Mask2Former's: the box around the mask; the last class is none."""
    masks = torch.full((1, 2, 4, 8), -1.0)
    masks[0, 0, 1:3, 2:5] = 1
    logits = [torch.randn(1, 2, 6) for _ in range(2)]
    output = (logits, [masks * 0, masks])
    found = answers(loaded("detection", output), torch.zeros(1, 3, 16, 32), sample(16, 32), (16, 32))
    torch.testing.assert_close(found.probabilities, logits[-1][0].softmax(1)[:, :5])
    assert found.boxes is not None
    assert found.boxes[:, 0].tolist() == [[8, 4, 20, 12], [0, 0, 0, 0]]


def without_proposals(model: Any) -> None:
    model.test_cfg.rpn["nms_pre"] = model.rpn_head.test_cfg["nms_pre"] = 1
    model.rpn_head.test_cfg["min_bbox_size"] = 10_000


def tiny(name: str) -> LoadedModel:
    pytest.importorskip("mmdet", reason="needs mmdet")
    from mmengine.config import Config

    from swinv2_dense.inference import get_model

    cfg = Config.fromfile(find_config(name))
    cfg.model.backbone.arch = dict(embed_dims=8, depths=[1, 2, 1, 1], num_heads=[1, 1, 2, 2])
    cfg.model.backbone.update(window_size=4, init_cfg=None)
    channels = cfg.model.get("neck") or cfg.model.panoptic_head
    channels.in_channels = [8, 16, 32, 64]
    for part in ("encoder", "decoder"):  # of DINO
        if part in cfg.model:
            cfg.model[part].num_layers = 1
    if "num_queries" in cfg.model:
        cfg.model.num_queries = 20
    model: Any = get_model(cfg, device="cpu")
    for parameter in model.backbone.parameters():
        nn.init.normal_(parameter, std=0.1)
    loaded = load_model(model)
    for step in loaded.pipeline:
        if step["type"] == "Resize":
            step["scale"] = (96, 64)
    return loaded


@pytest.mark.slow
@pytest.mark.parametrize("name", ["faster_rcnn", "mask_rcnn", "cascade_rcnn", "dino", "mask2former"])
def test_detectors_of_the_configs(name: str) -> None:
    loaded = tiny(f"{name}_swinv2_t")
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    prepared = composed(loaded)(entry(image, "image"))
    found = grad_cam(loaded, prepared, label=7)
    height, width = prepared["inputs"].shape[1:]
    assert found.label == 7
    assert "box" in found.reason
    assert found.boxes is not None and len(found.boxes) >= 1
    assert (found.boxes >= 0).all() and (found.boxes <= [width + 32, height + 32] * 2).all()
    assert any(cam.any() for cam in found.cams.values())
    if name == "faster_rcnn":
        without_proposals(loaded.model)
        with pytest.raises(UserError, match="no box was proposed"):
            grad_cam(loaded, prepared)

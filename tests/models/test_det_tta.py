"""Test-time augmentation with masks: nothing changes for one plain view, mirrored images give mirrored predictions,
views are merged, and what cannot be merged is refused in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

pytest.importorskip("mmdet", reason="needs the det extra")

from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps

import swinv2_dense.models.htc_roi_head  # noqa: F401  registers what the base config names
from swinv2_dense.errors import UserError
from swinv2_dense.models import det_tta
from swinv2_dense.models.det_tta import DetMaskTTAModel

BASE = Path(__file__).parents[2] / "configs" / "_base_" / "models"
KINDS = ("htc", "htc_without_semantic", "cascade", "mask_rcnn", "htc_boxonly")
CLASSES = 3
SIDE = (64, 96)  # height, width; a multiple of 32, so that mirroring mirrors what the padding sees


def model_config(kind: str) -> ConfigDict:
    """A detector with 8-channel heads, made of the base configs."""
    model = Config.fromfile(BASE / ("htc_swinv2.py" if kind == "htc" else "htc_without_semantic_swinv2.py")).model
    model.backbone.update(arch=dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)), window_size=4)
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
    model.rpn_head.update(in_channels=8, feat_channels=8)
    roi_head = model.roi_head
    for head in (*roi_head.bbox_head, *roi_head.mask_head):
        head.update(in_channels=8, num_classes=CLASSES)
    for head in roi_head.bbox_head:
        head.update(fc_out_channels=16)
    for head in roi_head.mask_head:
        head.update(num_convs=1, conv_out_channels=8)
    for extractor in (roi_head.bbox_roi_extractor, roi_head.mask_roi_extractor):
        extractor.update(out_channels=8)
    if kind == "htc":
        roi_head.semantic_roi_extractor.update(out_channels=8)
        roi_head.semantic_head.update(in_channels=8, conv_out_channels=8, num_convs=1, num_classes=5)
    if kind == "htc_boxonly":
        del roi_head["mask_head"], roi_head["mask_roi_extractor"]
    model.test_cfg.rpn.max_per_img = 20
    # A threshold in the middle: scores of 0.001 differ in the 6th digit and change places with the rounding.
    model.test_cfg.rcnn.update(max_per_img=12, score_thr=0.05)
    return cascade_or_mask_rcnn(model, kind) if kind in ("cascade", "mask_rcnn") else model


def cascade_or_mask_rcnn(model: ConfigDict, kind: str) -> ConfigDict:
    roi_head = model.roi_head
    for key in ("interleaved", "mask_info_flow"):
        del roi_head[key]
    for head in roi_head.mask_head:
        head.type = "FCNMaskHead"
        del head["with_conv_res"]
    if kind == "cascade":
        model.type, roi_head.type = "CascadeRCNN", "CascadeRoIHead"
        return model
    model.type, roi_head.type = "MaskRCNN", "StandardRoIHead"
    roi_head.update(bbox_head=roi_head.bbox_head[0], mask_head=roi_head.mask_head[0])
    for key in ("num_stages", "stage_loss_weights"):
        del roi_head[key]
    model.train_cfg.rcnn = model.train_cfg.rcnn[0]
    return model


@pytest.fixture(autouse=True, scope="module")
def _scope() -> None:
    init_default_scope("mmdet")


def detector(kind: str) -> nn.Module:
    """Random weights, large enough for scores, boxes and masks to differ."""
    torch.manual_seed(1)
    model = MODELS.build(model_config(kind)).eval()
    for name, parameter in model.named_parameters():
        if any(part in name for part in ("fc_cls.weight", "conv_logits.weight", "rpn_cls.weight")):
            nn.init.normal_(parameter, std=2.0)
        elif any(part in name for part in ("fc_reg.weight", "rpn_reg.weight")):
            nn.init.normal_(parameter, std=0.05)
    return model


def view(image: Tensor, *, scale: float = 1.0, flip: str | None = None) -> tuple[Tensor, DetDataSample]:
    """What a test pipeline makes of an image (3 x H x W, 0 to 255)."""
    size = [round(side * scale) for side in image.shape[-2:]]
    pixels = nn.functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    axes = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-2, -1)}
    meta = {
        "ori_shape": tuple(image.shape[-2:]),
        "img_shape": tuple(size),
        "scale_factor": (size[1] / image.shape[-1], size[0] / image.shape[-2]),
        "flip": flip is not None,
        "flip_direction": flip,
    }
    return pixels.flip(axes[flip]) if flip else pixels, DetDataSample(metainfo=meta)


def batch(*views: Sequence[tuple[Tensor, DetDataSample]]) -> dict[str, list[list[Any]]]:
    """Views of a batch of images -> what the loader of a tta_pipeline gives."""
    return {
        "inputs": [[pixels for pixels, _ in images] for images in views],
        "data_samples": [[sample for _, sample in images] for images in views],
    }


def image(seed: int = 0, size: tuple[int, int] = SIDE) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, size[0] // 8, size[1] // 8, generator=generator) * 255
    return nn.functional.interpolate(coarse, size, mode="bilinear")[0]


@torch.no_grad()
def plain(model: nn.Module, *views: tuple[Tensor, DetDataSample]) -> list[DetDataSample]:
    return model.test_step({key: value[0] for key, value in batch(views).items()})


@torch.no_grad()
def augmented(model: nn.Module, *views: Sequence[tuple[Tensor, DetDataSample]], **cfg: Any) -> list[DetDataSample]:
    return DetMaskTTAModel(model, cfg or None).test_step(batch(*views))


def same(one: DetDataSample, other: DetDataSample) -> None:
    assert set(one.pred_instances.keys()) == set(other.pred_instances.keys())
    for key, value in one.pred_instances.items():
        assert torch.equal(value, other.pred_instances[key]), key


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_one_view_is_the_plain_prediction(kind: str, scale: float) -> None:
    """Boxes, scores, labels and masks to the last bit, for two images of different size at once."""
    model = detector(kind)
    views = [view(image(), scale=scale), view(image(1, (64, 64)), scale=scale)]
    expected = plain(model, *views)
    found = augmented(model, [view(image(), scale=scale), view(image(1, (64, 64)), scale=scale)])
    for one, other in zip(found, expected, strict=True):
        assert len(other.pred_instances) > 3
        if kind == "htc_boxonly" and scale != 1.0:  # plain box models suppress after rescaling, we before: rounding
            for key in ("bboxes", "scores", "labels"):
                torch.testing.assert_close(one.pred_instances[key], other.pred_instances[key])
        else:
            same(one, other)
        if kind != "htc_boxonly":
            assert other.pred_instances.masks.any()
            assert not other.pred_instances.masks.all()


@pytest.mark.parametrize("scale", [(0.7, 0.7), (1.3, 1.1), (3.337, 3.339)])
def test_a_box_returns_to_its_view_unchanged(scale: tuple[float, float]) -> None:
    """Bit for bit, or a single view's masks would be predicted for other boxes than the plain ones."""
    meta = {"scale_factor": scale, "flip": False, "img_shape": (900, 1300)}
    boxes = torch.rand(2000, 4) * 900
    image = det_tta._to_image(boxes, meta)
    assert torch.equal(det_tta._to_view(image, meta), boxes)
    assert torch.equal(image.float(), boxes / boxes.new_tensor(scale).repeat(2))  # as mmdet maps them


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_a_flipped_view_of_a_mirrored_image_gives_the_mirrored_prediction(kind: str, direction: str) -> None:
    """The model sees the same pixels twice, so only the way back is tested: boxes and masks mirror."""
    model = detector(kind)
    axes = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-2, -1)}[direction]
    expected = plain(model, view(image()))[0].pred_instances
    found = augmented(model, [view(image().flip(axes), flip=direction)])[0].pred_instances
    boxes = expected.bboxes.clone()
    for axis in axes:  # -1 is x, the boxes' columns 0 and 2
        column = -1 - axis
        boxes[:, [column, column + 2]] = SIDE[axis] - boxes[:, [column + 2, column]]
    torch.testing.assert_close(found.bboxes, boxes, atol=1e-4, rtol=0)
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.labels, expected.labels)
    if kind != "htc_boxonly":
        # A pixel whose probability is the threshold to the last digit may fall on either side.
        assert (found.masks != expected.masks.flip(axes)).float().mean() < 1e-3


@pytest.mark.parametrize("kind", ["htc", "cascade", "mask_rcnn"])
def test_equal_views_change_nothing_but_duplicates(kind: str) -> None:
    """Three times the same view: hard suppression leaves one of each, and the mean mask is the mask."""
    model = detector(kind)
    nms = {"type": "nms", "iou_threshold": 0.5}
    model.roi_head.test_cfg.nms = ConfigDict(nms)
    expected = plain(model, view(image()))[0]
    found = augmented(model, *([view(image())] for _ in range(3)), nms=nms, max_per_img=12)[0]
    for key in ("bboxes", "scores", "labels"):
        torch.testing.assert_close(found.pred_instances[key], expected.pred_instances[key], atol=1e-5, rtol=0)
    differing = found.pred_instances.masks != expected.pred_instances.masks
    assert differing.float().mean() < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_scales_and_flips_are_merged(kind: str) -> None:
    """Symmetric in its views: with every view mirrored too, a mirrored image gives the mirrored prediction."""
    model = detector(kind)
    scales, mirrored = (1.0, 1.5), image().flip(-1)
    one = augmented(model, *([view(image(), scale=s, flip=f)] for s in scales for f in (None, "horizontal")))[0]
    two = augmented(model, *([view(mirrored, scale=s, flip=f)] for s in scales for f in (None, "horizontal")))[0]
    one, two = one.pred_instances, two.pred_instances
    assert 0 < len(one) <= 12
    assert torch.all(one.scores[:-1] >= one.scores[1:])
    boxes = two.bboxes.clone()
    boxes[:, [0, 2]] = SIDE[1] - boxes[:, [2, 0]]
    torch.testing.assert_close(one.scores, two.scores, atol=1e-4, rtol=0)
    top = bbox_overlaps(one.bboxes[:4], boxes)
    top[one.labels[:4, None] != two.labels[None]] = 0
    assert top.max(dim=1).values.min() > 0.95
    if kind != "htc_boxonly":
        pair = top.argmax(dim=1)
        assert (one.masks[:4] != two.masks.flip(-1)[pair]).float().mean() < 0.02


def test_soft_nms_lowers_scores_within_a_class_only() -> None:
    """Boxes that two views share stay, with a lower score; another class's stay as they were."""
    model = detector("mask_rcnn")
    found = plain(model, view(image()))[0].pred_instances
    soft = {"type": "soft_nms", "iou_threshold": 0.5, "min_score": 0.0}
    merged = augmented(model, *([view(image())] for _ in range(2)), nms=soft, max_per_img=100)[0].pred_instances
    assert len(merged) == 2 * len(found)
    for label in found.labels.unique():
        before, after = found.scores[found.labels == label], merged.scores[merged.labels == label]
        assert after.max() == before.max()
        assert after.sum() < 2 * before.sum()


@pytest.mark.parametrize("kind", ["htc", "mask_rcnn", "htc_boxonly"])
@pytest.mark.parametrize("views", [1, 2])
def test_images_without_detections(kind: str, views: int) -> None:
    model = detector(kind)
    model.roi_head.test_cfg.score_thr = 2.0
    found = augmented(model, *([view(image())] for _ in range(views)))[0].pred_instances
    assert len(found) == 0
    assert found.bboxes.shape == (0, 4)
    assert kind == "htc_boxonly" or found.masks.shape == (0, *SIDE)


def test_one_empty_image_in_a_batch() -> None:
    model = detector("mask_rcnn")
    model.roi_head.test_cfg.score_thr = 0.0
    full = [view(image()), view(image(1))]
    tta = DetMaskTTAModel(model, {"nms": {"type": "nms", "iou_threshold": 0.5}})
    with torch.no_grad():
        view_, found = tta._detect(*model.data_preprocessor({k: v[0] for k, v in batch(full).items()}, False).values())
        found[0] = found[0][:0]
        masks = tta._masks([view_], found)
    assert masks[0]["masks"].shape == (0, *SIDE)
    assert masks[1]["masks"].shape == (len(found[1]), *SIDE)
    assert masks[1]["masks"].any()


def test_built_from_a_config_it_takes_the_models_own_suppression() -> None:
    config = {
        "type": "swinv2_dense.DetMaskTTAModel",
        "module": model_config("mask_rcnn"),
        "tta_cfg": {"max_per_img": 5},
    }
    tta = MODELS.build(config)
    assert isinstance(tta, DetMaskTTAModel)
    assert (tta.tta_cfg.nms.type, tta.tta_cfg.max_per_img) == ("soft_nms", 5)


def test_mistakes_are_named() -> None:
    model = detector("mask_rcnn")
    with pytest.raises(UserError, match=r"tta_cfg\.nmss is unknown"):
        DetMaskTTAModel(model, {"nmss": 1})
    pixels, sample = view(image())
    silent = DetDataSample(metainfo={key: sample.metainfo[key] for key in ("ori_shape", "img_shape", "scale_factor")})
    with pytest.raises(UserError, match="tta_pipeline: a view lacks flip"):
        augmented(model, [(pixels, silent)])
    with pytest.raises(UserError, match="no RPN and RoI head"):
        DetMaskTTAModel(_OneStage())

    class OwnMasks(type(model.roi_head)):  # type: ignore[misc]
        def predict_mask(self, *args: Any, **kwargs: Any) -> None: ...

    model.roi_head.__class__ = OwnMasks
    with pytest.raises(UserError, match="masks of OwnMasks cannot be averaged"):
        DetMaskTTAModel(model)


class _OneStage(nn.Module):
    def test_step(self, data: Any) -> None: ...

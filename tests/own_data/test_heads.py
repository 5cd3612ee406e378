"""Every head of every kind of model gets the number of classes; models that need more than the data have say so."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import device

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.heads import set_classes
from tests.tiny import REPOSITORY


def load(name: str) -> Config:
    return Config.fromfile(REPOSITORY / "configs" / f"{name}.py")


@pytest.mark.parametrize(
    "name",
    [
        "coco/htc_without_semantic_swinv2_t",
        "coco/mask_rcnn_swinv2_t",
        "coco/cascade_rcnn_swinv2_t",
        "coco/dino_swinv2_t",
        "coco/mask2former_swinv2_t",
        "ade20k/upernet_swinv2_t",
        "ade20k/mask2former_swinv2_b",
        "kinetics400/swinv2_t_256",
    ],
)
def test_every_head(name: str) -> None:
    cfg = load(name)
    set_classes(cfg, 3, masks=True)
    init_default_scope(cfg.default_scope)
    with device("meta"):
        model = MODELS.build(cfg.model)
    sizes = {tuple(p.shape) for key, p in model.named_parameters() if any(n in key for n in ("cls", "conv_seg"))}
    assert not any(shape[:1] in ((80,), (81,), (150,), (151,), (400,)) for shape in sizes)


def test_what_the_data_do_not_have() -> None:
    with pytest.raises(UserError, match="boxes without masks"):
        set_classes(load("coco/mask_rcnn_swinv2_t"), 3, masks=False)
    with pytest.raises(UserError, match="boxes without masks"):
        set_classes(load("coco/mask2former_swinv2_t"), 3, masks=False)
    with pytest.raises(UserError, match="semantic branch"):
        set_classes(load("coco/htc_swinv2_t"), 3, masks=True)
    set_classes(load("coco/dino_swinv2_t"), 3, masks=False)

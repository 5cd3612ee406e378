"""Weights trained without HTC's semantic branch never leave it as it was initialised, however they are loaded."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

from swinv2_dense.errors import UserError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mmdet") is None, reason="needs mmdet")


class Model(nn.Module):
    """A detector's shape: the head under ``roi_head``, with the parts that the test is about."""

    def __init__(self) -> None:
        super().__init__()
        from swinv2_dense.models.htc_roi_head import SemanticHTCRoIHead, _check_branch

        self.backbone = nn.Linear(2, 2)
        self.roi_head = SemanticHTCRoIHead.__new__(SemanticHTCRoIHead)
        nn.Module.__init__(self.roi_head)
        self.roi_head.register_load_state_dict_pre_hook(_check_branch)
        self.roi_head.bbox_head = nn.Linear(2, 2)
        self.roi_head.semantic_head = nn.Linear(2, 2)


@pytest.mark.parametrize("way", ["mmengine", "torch"])
def test_a_head_without_the_branch_is_refused_and_a_backbone_alone_is_not(way: str) -> None:
    from mmengine.runner.checkpoint import load_state_dict

    def load(content: dict[str, torch.Tensor]) -> None:
        load_state_dict(model, content) if way == "mmengine" else model.load_state_dict(content, strict=False)

    model = Model()
    content = model.state_dict()
    load(content)
    load({key: value for key, value in content.items() if key.startswith("backbone.")})
    with pytest.raises(UserError, match="roi_head without a semantic branch"):
        load({key: value for key, value in content.items() if "semantic" not in key})


def test_the_config_with_the_branch_builds_this_head() -> None:
    from mmengine.config import Config

    cfg = Config.fromfile("configs/coco/htc_swinv2_t.py")
    assert cfg.model.roi_head.type == "swinv2_dense.SemanticHTCRoIHead"
    assert "swinv2_dense.models.htc_roi_head" in cfg.custom_imports.imports
    assert Config.fromfile("configs/coco/htc_without_semantic_swinv2_t.py").model.roi_head.type.startswith("Hybrid")


def test_mmdets_own_program_refuses_them(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from mmdet.apis import init_detector
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    cfg = Config.fromfile("configs/demo/htc_swinv2_demo.py")
    assert "semantic_head" in cfg.model.roi_head
    cfg.model.backbone.pop("init_cfg", None)
    with DefaultScope.overwrite_default_scope("mmdet"):
        whole = init_detector(cfg, None, device="cpu", palette="random").state_dict()
        part = {key: value for key, value in whole.items() if "semantic" not in key}
        torch.save({"state_dict": part, "meta": {"dataset_meta": {"classes": ("a",)}}}, tmp_path / "x.pth")
        with pytest.raises(UserError, match="without a semantic branch"):
            init_detector(cfg, str(tmp_path / "x.pth"), device="cpu", palette="random")

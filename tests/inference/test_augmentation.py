"""A config's own test-time augmentation comes first; one without gets mirror images, where they can be merged."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from swinv2_dense.errors import UserError
from swinv2_dense.inference.augmentation import augmentation

LOAD, RESIZE, TRUTH = {"type": "LoadImageFromFile"}, {"type": "Resize"}, {"type": "mmdet.LoadAnnotations"}


def config(scope: str, model: dict[str, Any] | None = None, **more: Any) -> Config:
    return Config({"default_scope": scope, "model": model or {"type": "Some", "roi_head": {}}, **more})


def test_the_configs_own() -> None:
    cfg = config("mmdet", tta_model={"type": "Own"}, tta_pipeline=[LOAD])
    assert augmentation(cfg, [LOAD, RESIZE]) == ({"type": "Own"}, [LOAD])
    for key, other in (("tta_model", "tta_pipeline"), ("tta_pipeline", "tta_model")):
        with pytest.raises(UserError, match=f"has {key} and no {other}"):
            augmentation(config("mmdet", **{key: {"type": "Own"}}), [LOAD])


@pytest.mark.parametrize(
    ("scope", "pack"), [("mmdet", "PackDetInputs"), ("mmseg", "mmseg.PackSegInputs"), ("mmpretrain", "PackInputs")]
)
def test_mirror_images(scope: str, pack: str) -> None:
    pytest.importorskip(scope)
    _, (load, augmented) = augmentation(
        config(scope), [LOAD, RESIZE, TRUTH, {"type": pack, "meta_keys": ("a", "flip")}]
    )
    assert load == LOAD
    resize, flips, truth, (packing,) = augmented["transforms"]
    assert (resize, truth) == ([RESIZE], [TRUTH])
    assert [flip["prob"] for flip in flips] == [0.0, 1.0]
    assert packing["type"] == pack
    if scope == "mmdet":
        assert packing["meta_keys"][:2] == ("a", "flip")
        assert {"flip_direction", "scale_factor", "ori_shape"} < set(packing["meta_keys"])


@pytest.mark.parametrize(
    ("cfg", "part"),
    [
        (config("mmaction"), "clips are predicted in several views already"),
        (config("mmpretrain", {"type": "SimMIM"}), "there is nothing to merge"),
        (config("mmdet", {"type": "DINO"}), "predictions of DINO cannot be merged"),
        (config("mmseg"), "does not end in PackSegInputs"),
    ],
)
def test_what_cannot_be_merged(cfg: Config, part: str) -> None:
    with pytest.raises(UserError, match=rf"^--tta: .*{part}"):
        augmentation(cfg, [LOAD, RESIZE])

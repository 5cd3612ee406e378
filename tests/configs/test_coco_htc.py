"""configs/coco: the data that HTC's pipelines give are what the model expects, with and without semantic maps."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope

from swinv2_dense.checks import config as preflight
from swinv2_dense.checks.channels import check_channels
from swinv2_dense.checks.dataset import semantic_leaf
from swinv2_dense.demo.shapes import CLASSES
from swinv2_dense.demo.shapes_coco import write_shapes_coco
from swinv2_dense.errors import UserError

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("COCO_ROOT", ROOT.parent / "shared" / "data" / "coco"))
needs_data = pytest.mark.skipif(
    not (DATA / "annotations" / "instances_train2017.json").is_file(), reason=f"no COCO in {DATA} (COCO_ROOT)"
)


def load(path: Path | str) -> Config:
    cfg = Config.fromfile(ROOT / "configs" / "coco" / path)
    init_default_scope(cfg.default_scope)
    return cfg


@pytest.mark.parametrize("root", ["/data/coco", "/data/coco/"])
def test_root_with_and_without_slash(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCO_ROOT", root)
    cfg = load("htc_swinv2_t.py")
    assert cfg.val_evaluator.ann_file == "/data/coco/annotations/instances_val2017.json"
    assert cfg.train_dataloader.dataset.data_root == "/data/coco/"


def test_the_leaf_without_the_semantic_branch_differs_by_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCO_ROOT", str(tmp_path))
    cfg, without = (load(f"{name}_swinv2_t.py") for name in ("htc", "htc_without_semantic"))
    assert semantic_leaf(cfg) == "coco/htc_without_semantic_swinv2_t"
    for key in ("semantic_head", "semantic_roi_extractor"):
        cfg.model.roi_head.pop(key)
    assert cfg.model.roi_head.type == "swinv2_dense.SemanticHTCRoIHead"  # mmdet's, which refuses weights without it
    cfg.model.roi_head.type = "HybridTaskCascadeRoIHead"
    cfg.model.data_preprocessor.batch_augments[0].pop("pad_seg")
    cfg.model.data_preprocessor.pop("pad_seg")
    cfg.train_dataloader.dataset.data_prefix.pop("seg")
    cfg.train_dataloader.dataset.pipeline[1].pop("with_seg")
    for key in ("model", "train_dataloader", "val_dataloader", "optim_wrapper"):
        assert cfg[key].to_dict() == without[key].to_dict(), key


def test_semantic_maps_go_with_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shapes_coco(tmp_path / "coco", train=2, val=0, side=64)
    monkeypatch.setenv("COCO_ROOT", str(tmp_path / "coco"))
    cfg = load("htc_swinv2_t.py")
    cfg.train_dataloader.dataset.metainfo = {"classes": CLASSES}
    sample = DATASETS.build(cfg.train_dataloader.dataset)[0]
    assert sample["data_samples"].gt_sem_seg.sem_seg.shape[1:] == sample["inputs"].shape[1:]
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    batch = preprocessor({key: [value] for key, value in sample.items()}, training=True)
    assert batch["inputs"].shape == (1, 3, 1536, 1536)
    labels = batch["data_samples"][0].gt_sem_seg.sem_seg
    assert labels.shape == (1, 1536, 1536)
    height, width = sample["inputs"].shape[1:]
    assert (labels[:, height:] == 255).all()
    assert (labels[:, :, width:] == 255).all()
    assert set(labels.unique().tolist()) <= {*range(len(CLASSES) + 3), 255}


@needs_data
def test_jitter_gives_boxes_and_masks_inside_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCO_ROOT", str(DATA))
    cfg = load("htc_without_semantic_swinv2_t.py")
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 49  # one of the 50 pictures has no object
    sizes, found = set(), 0
    for index in range(0, len(dataset), 6):
        sample = dataset[index]
        height, width = sample["inputs"].shape[1:]
        objects = sample["data_samples"].gt_instances
        assert max(height, width) <= 1536
        assert len(objects) == len(objects.masks)
        found += len(objects)  # seldom, a window has none
        boxes = objects.bboxes.tensor
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([width, height, width, height])).all()
        # float32 of up to 1536 pixels, computed in two ways
        torch.testing.assert_close(boxes, objects.masks.get_bboxes("hbox").tensor, atol=1e-3, rtol=0)
        sizes.add((height, width))
    assert len(sizes) > 3 and found > 20


def example_of(page: str, word: str, folder: Path) -> Path:
    """The one config of a page that has ``word`` in it, as a file."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (example,) = [block for block in blocks if "_base_" in block and word in block]
    leaf = folder / "own.py"
    leaf.write_text(example.replace('"configs/', f'"{ROOT}/configs/'))
    return leaf


def test_example_of_six_bands_in_the_docs(tmp_path: Path) -> None:
    cfg = load(example_of("docs/training.md", "in_channels", tmp_path))
    for split in ("train", "val", "test"):
        loader = cfg[f"{split}_dataloader"]
        check_channels(cfg, [(split, loader.dataset)])
        assert loader.dataset.pipeline[0] == {
            "type": "LoadImageFromFile",
            "color_type": "unchanged",
            "imdecode_backend": "tifffile",
        }
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert model.backbone.in_channels == 6
    cfg.model.data_preprocessor.bgr_to_rgb = True
    with pytest.raises(UserError, match="in_channels is 6"):
        check_channels(cfg, [])


def test_example_of_own_data_in_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = example_of("docs/training.md", "roi_head", tmp_path)
    write_shapes_coco(tmp_path / "coco", train=2, val=1, side=64)
    monkeypatch.setenv("COCO_ROOT", str(tmp_path / "coco"))
    cfg = load(leaf)
    cfg.work_dir = str(tmp_path)
    preflight.check(cfg, ("train", "val", "test"))
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert [head.num_classes for head in (*model.roi_head.bbox_head, *model.roi_head.mask_head)] == [4] * 6

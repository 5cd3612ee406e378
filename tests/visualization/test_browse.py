"""Before-and-after pictures of a training pipeline."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("mmdet", reason="needs the det extra")

from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from swinv2_dense.demo.motion_clips import write_motion_clips
from swinv2_dense.demo.shapes_coco import write_shapes_coco
from swinv2_dense.errors import UserError
from swinv2_dense.own_data import Choices, use_own_data
from swinv2_dense.visualization.browse import _draw_class, _draw_map, browse
from tests.own_data.makers import class_folders
from tests.tiny import REPOSITORY

DEMO = Path(__file__).parents[2] / "configs" / "demo" / "htc_swinv2_demo.py"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browse") / "data"
    write_shapes_coco(folder, train=6, val=1, side=80)
    return folder


@pytest.fixture
def cfg(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("SHAPES_ROOT", str(root))
    cfg = Config.fromfile(DEMO)
    cfg.update(work_dir=str(tmp_path / "work"), launcher="none")
    del cfg.train_dataloader.dataset["filter_cfg"]  # the third picture has no objects
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == "Resize":
            step.scale = (160, 160)
    return cfg


def drawn(image: np.ndarray) -> np.ndarray:
    """As mmdet's visualizer draws an image without objects, which matplotlib before 3.11 puts up to a pixel aside."""
    visualizer, height, width = DetLocalVisualizer(), *image.shape[:2]
    nothing = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long(), masks=BitmapMasks([], height, width))
    sample = DetDataSample(gt_instances=nothing)
    visualizer.add_datasample("image", image[..., ::-1], sample, draw_gt=True, draw_pred=False)
    return visualizer.get_image()[..., ::-1]


def halves(path: Path, width: int) -> tuple[np.ndarray, np.ndarray]:
    picture = cv2.imread(str(path))
    return picture[:, :width], picture[:, width + 8 :]


def test_every_picture_is_drawn_before_and_after(cfg: Config, root: Path, tmp_path: Path) -> None:
    done: list[int] = []
    written = browse(cfg, tmp_path / "out", 6, progress=lambda step, i, total: done.append(i))
    assert [path.name for path in written] == [f"{number:012d}.jpg" for number in range(1, 7)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [path.name for path in written]
    assert done == list(range(1, 7))
    for path in written:
        source = drawn(cv2.imread(str(root / "train2017" / path.name)))
        before, after = halves(path, source.shape[1])
        assert max(after.shape[:2]) == 160
        difference = np.abs(before[: source.shape[0]].astype(int) - source).max(axis=2)
        touched = (difference > 40).mean()  # jpeg aside
        assert touched == 0 if path.stem.endswith("3") else 0.02 < touched < 0.9


def test_only_the_named_transforms_are_applied(cfg: Config, root: Path, tmp_path: Path) -> None:
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == "RandomFlip":
            step.update(prob=1.0, direction="horizontal")
    path = browse(cfg, tmp_path, 6, only=["RandomFlip"])[2]  # nothing is painted over the third picture
    source = cv2.imread(str(root / "train2017" / path.name))
    before, after = halves(path, source.shape[1])
    assert before.shape == after.shape
    assert np.abs(before.astype(int) - drawn(source)).mean() < 4
    assert np.abs(after.astype(int) - drawn(source[:, ::-1])).mean() < 4
    assert np.abs(before.astype(int) - after).mean() > 8


def test_fewer_pictures_are_spread_over_the_data(cfg: Config, tmp_path: Path) -> None:
    written = browse(cfg, tmp_path, 3, only=["RandomFlip"])
    assert [int(path.stem) for path in written] == [1, 3, 6]


def test_a_pipeline_that_gives_nothing_shows_an_empty_picture(cfg: Config, root: Path, tmp_path: Path) -> None:
    cfg.train_dataloader.dataset.pipeline.insert(2, {"type": "FilterAnnotations", "min_gt_bbox_wh": (1e6, 1e6)})
    path = browse(cfg, tmp_path, 1)[0]
    _, after = halves(path, cv2.imread(str(root / "train2017" / path.name)).shape[1])
    assert after.min() > 250


def test_mistakes_are_named(cfg: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--only InstaBost: the training pipeline has LoadImageFromFile, "):
        browse(cfg, tmp_path, 1, only=["InstaBost"])
    cfg.default_scope = "mmrotate"
    with pytest.raises(UserError, match="browsing needs default_scope to be one of mmdet"):
        browse(cfg, tmp_path, 1)


@pytest.mark.parametrize(("key", "value"), [("train_dataloader", None), ("train_dataloader.dataset.pipeline", None)])
def test_what_browsing_needs(cfg: Config, tmp_path: Path, key: str, value: object) -> None:
    cfg.merge_from_dict({key: value})
    with pytest.raises(UserError, match=key):
        browse(cfg, tmp_path, 1)
    with pytest.raises(UserError, match="--seed -1: give a number from 0"):
        browse(cfg, tmp_path, 1, seed=-1)


def test_of_several_data_sets_all_are_drawn(cfg: Config, tmp_path: Path) -> None:
    """Each by its own pipeline; images of one name in two of them are both kept."""
    one = cfg.train_dataloader.dataset
    two = one.copy()
    two.pipeline = [dict(step, scale=(40, 40)) if step.type == "Resize" else step for step in one.pipeline]
    cfg.train_dataloader.dataset = ConfigDict(
        type="ConcatDataset", datasets=[dict(type="RepeatDataset", times=3, dataset=one), two]
    )
    written = browse(cfg, tmp_path / "out", 100, only=["Resize"])
    names = [f"{part}/{number:012d}.jpg" for part in (0, 1) for number in range(1, 7)]
    assert [str(path.relative_to(tmp_path / "out")) for path in written] == names
    widths = [halves(path, 80)[1].shape[1] for path in (written[0], written[6])]
    assert 100 < widths[0] <= 160 and widths[1] <= 40
    assert len(browse(cfg, tmp_path / "few", 2)) == 2


def test_a_pipeline_that_mixes_images_cannot_be_shown(cfg: Config, tmp_path: Path) -> None:
    steps = cfg.train_dataloader.dataset.pipeline
    inner = dict(cfg.train_dataloader.dataset, pipeline=steps[:2])
    mixing = dict(type="MultiImageMixDataset", dataset=inner, pipeline=[dict(type="Mosaic"), steps[-1]])
    cfg.train_dataloader.dataset = ConfigDict(mixing)
    with pytest.raises(
        UserError, match=r"train_dataloader\.dataset \(MultiImageMixDataset\) has a pipeline of its own"
    ):
        browse(cfg, tmp_path, 1)


def test_packing_may_be_named(cfg: Config, tmp_path: Path) -> None:
    for path in browse(cfg, tmp_path, 2, only=["PackDetInputs", "LoadAnnotations"]):
        image = cv2.imread(str(path))
        before, after = halves(path, (image.shape[1] - 8) // 2)
        assert before.shape == after.shape and np.abs(before.astype(int) - after).mean() < 4


def test_images_of_a_class(tmp_path: Path, clean_run: None) -> None:
    pytest.importorskip("mmpretrain", reason="classification needs the cls extra")
    data = class_folders(tmp_path / "data", {"ant": 2, "bee": 2})
    cfg = Config.fromfile(REPOSITORY / "configs/imagenet/swinv2_t_w8_256.py")
    cfg.work_dir = str(tmp_path / "w")
    cfg, _ = use_own_data(cfg, data, Choices(image_size=32))
    written = browse(cfg, tmp_path / "out", 2)
    assert [path.parent.name for path in written] == ["ant", "bee"]
    before, after = halves(written[0], 5 * 60)  # 40 x 60 pixels, enlarged for the names; 32 x 32 behind the crop
    assert before[210:].min() > 240
    assert (before[:200, -20:] < 250).any()
    assert after.shape == (7 * 32, 7 * 32, 3)


def test_clips_are_strips_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_run: None) -> None:
    pytest.importorskip("mmaction", reason="clips need the video extra")
    write_motion_clips(tmp_path / "data", train=7, val=7)
    monkeypatch.setenv("MOTION_ROOT", str(tmp_path / "data"))
    cfg = Config.fromfile(REPOSITORY / "configs/demo/video_swinv2_demo.py")
    cfg.work_dir = str(tmp_path / "w")
    (path,) = browse(cfg, tmp_path / "out", 1)
    strip = cv2.imread(str(path))
    assert strip.shape[1] == 1600
    assert strip[:200].std() > 5
    for path in browse(cfg, tmp_path / "all", 7):  # nothing but the choice of the frames is by chance
        strip = cv2.imread(str(path))
        height = (len(strip) - 8) // 2
        assert np.abs(strip[:height].astype(int) - strip[height + 8 :]).mean() < 2


def test_maps_have_a_legend_and_leave_what_is_no_class() -> None:
    image, labels = np.full((300, 400, 3), 200, np.uint8), np.full((300, 400), 255, np.uint8)
    labels[:, 300:] = 1
    before = _draw_map(image, labels, {"classes": ("sky", "sea"), "palette": [(255, 0, 0), (0, 0, 255)]})
    assert before.shape == image.shape
    assert (before[100:, :300] == 200).all()
    blue, green, red = before[200, 350]
    assert blue > 220 and red == green < 100  # BGR
    assert (before[:12, :30] < 60).mean() > 0.4  # a dark plate
    large = _draw_map(image.repeat(9, 0).repeat(9, 1), labels.repeat(9, 0).repeat(9, 1), {})  # no names: class 1
    assert max(large.shape) == 900
    assert (large[150:, :600] == 200).all()


@pytest.mark.parametrize(("frames", "size"), [(8, (36, 64)), (16, (1080, 1920)), (3, (90, 160))])
def test_the_class_of_clips_is_as_readable_on_large_frames(frames: int, size: tuple[int, int]) -> None:
    structures = pytest.importorskip("mmaction.structures", reason="clips need the video extra")
    clip = torch.full((1, 3, frames, *size), 200, dtype=torch.uint8)
    data = {"inputs": clip, "data_samples": structures.ActionDataSample().set_gt_label(1)}
    strip = _draw_class(data, {"classes": ("run", "jump")})
    assert strip.shape[1] == (1600 if frames >= 8 else 1200)
    plate = (strip < 60).all(axis=2).any(axis=1).sum()
    assert 12 <= plate <= 24

"""A run's checkpoint alone predicts, for every task and from every kind of source; each mistake is one line."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image

from swinv2_dense import Predictor, get_model, inference_model
from swinv2_dense.errors import UserError
from swinv2_dense.inference.results import Classification, Detections, Reconstruction, SegmentationMap
from swinv2_dense.inference.sources import Item
from swinv2_dense.inference.tiles import Tile
from tests.inference.conftest import CLASSES, Run

RunOf = Callable[[str], Run]


def equal(one: Any, other: Any) -> bool:
    return np.array_equal(one.labels, other.labels) and np.allclose(one.scores, other.scores, atol=1e-5)


def test_detection(run_of: RunOf, image: np.ndarray) -> None:
    result = Predictor(run_of("detection").checkpoint, score=0.0, device="cpu")(image)
    assert isinstance(result, Detections)
    assert len(result) == 5
    assert result.boxes.shape == (5, 4)
    assert result.masks.shape == (5, 60, 80)
    assert result.masks.dtype == bool
    assert (np.diff(result.scores) <= 0).all()
    assert set(result.names) <= set(CLASSES["detection"])
    assert result.plot().shape == image.shape


def test_segmentation(run_of: RunOf, image: np.ndarray) -> None:
    result = Predictor(run_of("segmentation").checkpoint, device="cpu")(image)
    assert isinstance(result, SegmentationMap)
    assert result.map.shape == (60, 80)
    assert result.scores.sum() == pytest.approx(1)
    assert result.masks.sum() == 60 * 80
    assert result.names == [CLASSES["segmentation"][label] for label in result.labels]


def test_classification(run_of: RunOf, image: np.ndarray) -> None:
    result = Predictor(run_of("classification").checkpoint, device="cpu")(image)
    assert isinstance(result, Classification)
    assert sorted(result.names) == ["bird", "cat", "dog"]
    assert result.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert result.plot().shape == (4 * 60, 4 * 80, 3)  # enlarged for the names


def test_simmim(run_of: RunOf, image: np.ndarray) -> None:
    predictor = Predictor(run_of("simmim").checkpoint, batch=2, device="cpu")
    for result in predictor([image, image[:, ::-1].copy()]):
        assert isinstance(result, Reconstruction)
        assert result.image.shape == result.masked.shape == result.reconstruction.shape == (64, 64, 3)
        seen = (result.masked == result.image).all(axis=2)
        assert 0.2 < seen.mean() < 0.5  # three blocks of four are masked
        assert np.array_equal(result.reconstruction[seen], result.image[seen])
        assert result.difference() > 0
        assert result.plot().shape == (64, 192, 3)


def test_video(run_of: RunOf, video: Path, folder: Path) -> None:
    predictor = Predictor(run_of("video").checkpoint, device="cpu")
    result = predictor(video)
    assert isinstance(result, Classification)
    assert len(result) == 5
    assert result.image.shape == (4, 64, 64, 3)
    assert result.plot().shape == (4 * 64, 4 * 4 * 64, 3)
    with pytest.raises(UserError, match="is no video, and this model classifies videos"):
        predictor(folder / "a.png")
    broken = video.with_name("broken.mp4")
    broken.write_bytes(video.read_bytes()[:200])
    with pytest.raises(UserError, match=r"broken\.mp4 cannot be decoded"):
        predictor(broken)


def test_every_kind_of_source(run_of: RunOf, image: np.ndarray, folder: Path, video: Path) -> None:
    predictor = Predictor(run_of("detection").checkpoint, score=0.0, device="cpu")
    first = predictor(folder / "a.png")
    assert first.source == str(folder / "a.png")
    assert equal(predictor(image), first)
    assert equal(predictor(Image.fromarray(image[..., ::-1])), first)
    assert equal(predictor(np.dstack([image, image[..., :1]])), first)  # with an alpha channel
    assert all(equal(result, first) for result in predictor([image, str(folder / "a.png")]))
    assert [equal(result, first) for result in predictor(part for part in [image])] == [True]
    found = [Path(result.source).name for result in predictor(folder)]
    assert found == ["a.png", "b.png", "c.png"]
    assert len(list(predictor(str(folder / "*.png")))) == 2
    frames = list(predictor(video))
    assert [frame.frame for frame in frames] == list(range(6))
    assert equal(inference_model(run_of("detection").checkpoint, image, score=0.0, device="cpu"), first)


def test_batches_give_the_same(run_of: RunOf, folder: Path) -> None:
    checkpoint = run_of("detection").checkpoint
    alone = list(Predictor(checkpoint, score=0.0, device="cpu")(folder))
    together = list(Predictor(checkpoint, score=0.0, batch=3, device="cpu")(folder))
    assert [Path(result.source).name for result in together] == ["a.png", "b.png", "c.png"]
    assert all(equal(one, other) for one, other in zip(alone, together, strict=True))


def test_weights_alone_need_a_config(run_of: RunOf, image: np.ndarray) -> None:
    run = run_of("detection")
    with pytest.raises(UserError, match=r"holds weights alone.*--config NAME"):
        Predictor(run.weights)
    stored = Predictor(run.checkpoint, score=0.0, device="cpu")(image)
    assert equal(Predictor(run.weights, run.config, score=0.0, device="cpu")(image), stored)
    with pytest.raises(UserError, match="did you mean 'htc_swinv2_t'"):
        Predictor(run.weights, "htc_swinv2_tt")
    with pytest.raises(UserError, match="the checkpoint has"):
        Predictor(run.weights, "demo/htc_swinv2_demo")


def test_a_built_model(run_of: RunOf, image: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    run = run_of("detection")
    capfd.readouterr()
    model = get_model(run.config, pretrained=run.weights, device="cpu")
    assert not model.training
    assert "torch.Size" not in "".join(capfd.readouterr())  # mmengine's report, hundreds of lines
    stored = Predictor(run.checkpoint, score=0.0, device="cpu")(image)
    assert equal(inference_model(model, image, score=0.0), stored)
    with pytest.raises(UserError, match="nobody has released"):
        get_model(run.config, pretrained=True)


def test_options_of_a_built_model(run_of: RunOf, image: np.ndarray) -> None:
    """They hold as for a checkpoint, or are refused."""
    run = run_of("segmentation")
    model = Predictor(run.checkpoint, device="cpu").loaded.model
    names = Predictor(run.checkpoint, device="cpu")(image).names
    assert Predictor(model)(image).names == names  # a checkpoint's classes stay with its model
    mirrored = Predictor(run.checkpoint, tta=True, device="cpu")(image)
    assert np.array_equal(Predictor(model, tta=True)(image).map, mirrored.map)
    with pytest.raises(UserError, match="window=2: this model has been built with its own"):
        Predictor(model, window=2)
    with pytest.raises(UserError, match="device 'nowhere' cannot be used"):
        Predictor(model, device="nowhere")
    with pytest.raises(UserError, match="the config is of a ImageClassifier, and the model is a EncoderDecoder"):
        Predictor(model, run_of("classification").config)
    del model.cfg
    assert np.array_equal(Predictor(model, run.config)(image).map, Predictor(run.checkpoint, device="cpu")(image).map)
    with pytest.raises(UserError, match="this model has no config"):
        Predictor(model)


def test_a_model_in_training_predicts_as_afterwards(run_of: RunOf, image: np.ndarray) -> None:
    predictor = Predictor(run_of("classification").checkpoint, device="cpu")
    wanted = predictor(image).probabilities
    model = predictor.loaded.model.train()
    model.backbone.layers[1].eval()
    modes = [module.training for module in model.modules()]
    assert np.array_equal(predictor(image).probabilities, wanted)
    assert [module.training for module in model.modules()] == modes
    assert len(set(modes)) == 2


def test_a_result_keeps_its_image(run_of: RunOf, image: np.ndarray) -> None:
    """Cameras are read into one array again and again."""
    predictor = Predictor(run_of("segmentation").checkpoint, device="cpu", batch=2)
    frame = np.empty_like(image)

    def frames() -> Iterator[np.ndarray]:
        for shift in range(3):
            frame[:] = np.roll(image, shift, axis=1)
            yield frame

    for shift, result in enumerate(list(predictor(frames()))):
        assert np.array_equal(result.image, np.roll(image, shift, axis=1))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (dict(batch=2.5), "batch 2.5: give a whole number"),
        (dict(batch="2"), "batch '2': give"),
        (dict(batch=True), "batch True: give"),
        (dict(score="0.3"), "score '0.3': give a number"),
        (dict(score=None), "score None: give a number"),
        (dict(tta="no"), "tta 'no': give True or False"),
        (dict(tile=64.0), "tiles of 64.0 pixels"),
        (dict(tile=64, overlap="a"), "overlap a: give"),
        (dict(classes=[]), "give the name of one at least"),
        (dict(classes=[1]), "there is no class 1"),
        (dict(config=5), "a config is a name, a path or an mmengine Config, not 5"),
        (dict(checkpoint=None), "a checkpoint is a path or a model of get_model, not None"),
        (dict(checkpoint=""), "a checkpoint is a path or a model of get_model, not ''"),
    ],
)
def test_options_of_another_type(options: dict[str, Any], part: str, run_of: RunOf) -> None:
    with pytest.raises(UserError, match=re.escape(part)):
        Predictor(**{"checkpoint": run_of("segmentation").checkpoint, "device": "cpu", **options})


def test_score_and_classes(run_of: RunOf, image: np.ndarray) -> None:
    checkpoint = run_of("detection").checkpoint
    everything = Predictor(checkpoint, score=0.0, device="cpu")(image)
    middle = float(np.sort(everything.scores)[2])
    assert len(Predictor(checkpoint, score=middle, device="cpu")(image)) == int((everything.scores >= middle).sum())
    name = everything.names[0]
    only = Predictor(checkpoint, score=0.0, classes=[name.upper()], device="cpu")(image)
    assert set(only.names) == {name}
    assert equal(Predictor(checkpoint, score=0.0, classes=name, device="cpu")(image), only)
    assert len(Predictor(checkpoint, score=1.0, device="cpu")(image)) == 0
    with pytest.raises(UserError, match="there is no class 'sqare': did you mean 'square'"):
        Predictor(checkpoint, classes=["sqare"], device="cpu")
    listed = Predictor(run_of("segmentation").checkpoint, classes=["sky"], device="cpu")(image)
    assert set(listed.names) <= {"sky"}


@pytest.mark.parametrize("score", [-0.1, 1.5, float("nan")])
def test_a_score_that_is_none(score: float, run_of: RunOf) -> None:
    with pytest.raises(UserError, match=r"score .*: give a number from 0 to 1"):
        Predictor(run_of("detection").checkpoint, device="cpu", score=score)


def test_classes_that_differ_in_case_alone(run_of: RunOf) -> None:
    predictor = Predictor(run_of("classification").checkpoint, device="cpu")
    predictor.loaded.classes = ("cat", "Cat", "Dog")
    assert predictor._class_indices(["cat", "Cat", "dog"]) == [0, 1, 2]


def test_window(run_of: RunOf, image: np.ndarray) -> None:
    predictor = Predictor(run_of("detection").checkpoint, window=8, score=0.0, device="cpu")
    model: Any = predictor.loaded.model
    assert model.backbone.window_size[0] == (8, 8)
    assert len(predictor(image)) == 5


def test_tta(run_of: RunOf, image: np.ndarray) -> None:
    checkpoint = run_of("segmentation").checkpoint
    mirrored = np.ascontiguousarray(image[:, ::-1])
    predictor = Predictor(checkpoint, tta=True, device="cpu")
    assert (predictor(image).map == predictor(mirrored).map[:, ::-1]).mean() > 0.99
    with pytest.raises(UserError, match="--tta: the config has no tta_model, and clips are predicted in several views"):
        Predictor(run_of("video").checkpoint, tta=True, device="cpu")


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_mirror_images_where_the_config_names_no_augmentation(task: str, run_of: RunOf, image: np.ndarray) -> None:
    """Merged with its mirror image, an image is as good as the mirror image merged with it."""
    predictor = Predictor(run_of(task).checkpoint, score=0.0, tta=True, device="cpu")
    found, mirrored = (predictor(np.ascontiguousarray(view)) for view in (image, image[:, ::-1]))
    alone = Predictor(run_of(task).checkpoint, score=0.0, device="cpu")(image)
    np.testing.assert_allclose(found.scores, mirrored.scores, atol=1e-5)
    assert not np.allclose(found.scores, alone.scores, atol=1e-5)
    if task == "detection":
        width = image.shape[1]
        boxes = np.stack([width - mirrored.boxes[:, 2], mirrored.boxes[:, 1], width - mirrored.boxes[:, 0]], axis=1)
        np.testing.assert_allclose(found.boxes[:, :3], boxes, atol=1e-2)


def test_tiles_of_a_detector(run_of: RunOf, image: np.ndarray) -> None:
    checkpoint = run_of("detection").checkpoint
    one = Predictor(checkpoint, score=0.0, tile=100, device="cpu")(image)
    whole = Predictor(checkpoint, score=0.0, device="cpu")(image)
    assert set(np.round(one.scores, 4)) <= set(np.round(whole.scores, 4))  # one tile: what NMS across classes leaves
    tiled = Predictor(checkpoint, score=0.0, tile=40, batch=2, device="cpu")(image)
    assert tiled.masks.shape == (len(tiled), 60, 80)
    assert (tiled.boxes >= 0).all()
    assert (tiled.boxes[:, 2:] <= [80, 60]).all()
    assert (np.diff(tiled.scores) <= 0).all()
    with pytest.raises(UserError, match="give 32 or more"):
        Predictor(checkpoint, tile=8, device="cpu")


def test_objects_on_borders_of_tiles_are_found_once(run_of: RunOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a detector that sees every rectangle, or the part of it in its tile, and in the whole image large ones."""
    rectangles = [(10, 10, 30, 40), (56, 8, 76, 30), (50, 50, 80, 75), (90, 100, 130, 124), (0, 140, 30, 180)]
    rectangles += [(190, 20, 240, 50), (140, 60, 230, 170), (100, 30, 112, 36), (116, 30, 128, 36)]
    scene = np.zeros((180, 240, 3), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(rectangles, start=1):
        scene[y1:y2, x1:x2] = number

    def seen(predictor: Predictor, item: Item, tiles: Sequence[Tile]) -> Iterator[Detections]:
        for tile in tiles:
            part = tile.of(scene)[..., 0]
            numbers = [n for n in np.unique(part[part > 0]) if tile.right - tile.left < 200 or (part == n).sum() > 2000]
            masks = np.array([part == n for n in numbers], bool).reshape(-1, *part.shape)
            boxes = [cv2.boundingRect(mask.astype(np.uint8)) for mask in masks]
            scores = np.array([1 - mask.sum() / 1e5 for mask in masks], np.float32)  # parts are the surer ones
            corners = np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], np.float32).reshape(-1, 4)
            yield Detections(part, labels=np.zeros(len(masks), np.int64), scores=scores, boxes=corners, masks=masks)

    monkeypatch.setattr(Predictor, "_parts", seen)
    for tile, overlap in ((64, 0.5), (80, 0.5), (110, 0.3)):
        found = Predictor(run_of("detection").checkpoint, tile=tile, overlap=overlap, device="cpu")(scene)
        assert sorted(map(tuple, found.boxes.astype(int).tolist())) == sorted(rectangles)
        assert found.masks.shape == (len(rectangles), 180, 240)
        for (x1, y1, x2, y2), mask in zip(found.boxes.astype(int), found.masks, strict=True):
            assert mask[y1:y2, x1:x2].all()
            assert mask.sum() == (y2 - y1) * (x2 - x1)


def test_tiles_of_a_segmenter(run_of: RunOf, image: np.ndarray) -> None:
    checkpoint = run_of("segmentation").checkpoint
    whole = Predictor(checkpoint, device="cpu")(image)
    assert np.array_equal(Predictor(checkpoint, tile=100, device="cpu")(image).map, whole.map)
    tiled = Predictor(checkpoint, tile=48, device="cpu")(image)
    assert tiled.map.shape == (60, 80)
    corner = Predictor(checkpoint, device="cpu")(np.ascontiguousarray(image[:48, :48]))
    assert np.array_equal(tiled.map[:24, :24], corner.map[:24, :24])


def test_tiles_are_for_maps_and_boxes(run_of: RunOf) -> None:
    with pytest.raises(UserError, match="this model does classification"):
        Predictor(run_of("classification").checkpoint, tile=64, device="cpu")


def test_threads(run_of: RunOf, image: np.ndarray) -> None:
    predictor = Predictor(run_of("detection").checkpoint, score=0.0, device="cpu")
    images = [np.ascontiguousarray(np.roll(image, 7 * shift, axis=1)) for shift in range(6)]
    alone = predictor(images)
    found: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: predictor(images[i])})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(equal(found[i], alone[i]) for i in range(6))


def test_two_predictors_take_turns(run_of: RunOf, image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries keep their default scope per process: the model of another scope would be built in this one's."""
    scopes = {"detection": "mmdet", "classification": "mmpretrain"}
    running: list[str] = []
    seen: list[tuple[list[str], str]] = []
    predictors = [Predictor(run_of(task).checkpoint, device="cpu") for task in scopes]

    def watch(predictor: Predictor) -> None:
        step = predictor.loaded.model.test_step

        def watched(data: Any) -> Any:
            running.append(predictor.task)
            time.sleep(0.05)
            seen.append((list(running), str(DefaultScope.get_current_instance().scope_name)))
            done = step(data)
            running.remove(predictor.task)
            return done

        monkeypatch.setattr(predictor.loaded.model, "test_step", watched)

    for predictor in predictors:
        watch(predictor)
    threads = [threading.Thread(target=lambda p=p: [p(image) for _ in range(3)]) for p in predictors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted(([task], scope) for task, scope in scopes.items() for _ in range(3))


def test_mistakes(run_of: RunOf, image: np.ndarray, tmp_path: Path) -> None:
    predictor = Predictor(run_of("detection").checkpoint, device="cpu")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    for source, part in [
        (image.astype(float), "not float64 60 x 80 x 3"),
        (tmp_path / "gone.jpg", "does not exist"),
        (tmp_path / "broken.jpg", "is truncated or no image"),
        (3, "cannot predict on a int"),
    ]:
        with pytest.raises(UserError, match=part):
            list(predictor(source))
    with pytest.raises(UserError, match=r"checkpoint .*gone\.pth does not exist"):
        Predictor(tmp_path / "gone.pth")
    with pytest.raises(UserError, match="device 'nonsense' cannot be used"):
        Predictor(run_of("detection").checkpoint, device="nonsense")


def test_an_image_that_is_too_narrow_is_named(run_of: RunOf, image: np.ndarray) -> None:
    predictor = Predictor(run_of("detection").checkpoint, device="cpu")
    narrow = np.zeros((5000, 2, 3), np.uint8)
    with pytest.raises(UserError, match="image 1: the model's pipeline cannot prepare an image of 5000 x 2 pixels"):
        predictor([image, narrow])
    skipped: list[Item] = []
    assert len(list(predictor.stream([image, narrow, image], skipped.append))) == 2
    assert len(skipped) == 1


def test_a_model_of_videos_is_given_videos(run_of: RunOf, image: np.ndarray) -> None:
    predictor = Predictor(run_of("video").checkpoint, device="cpu")
    for source in (image, [image] * 8, np.stack([image] * 8), Image.fromarray(image)):
        with pytest.raises(UserError, match="this model classifies videos: give the path of one"):
            predictor(source)
    for source, name in (("0", "camera 0"), ("-", "standard input")):
        with pytest.raises(UserError, match=f"{name} is no video, and this model classifies videos"):
            list(predictor([source]))


def test_unreadable_ones_may_be_skipped(run_of: RunOf, folder: Path) -> None:
    predictor = Predictor(run_of("detection").checkpoint, device="cpu")
    (folder / "broken.png").write_bytes(b"")
    failed: list[Any] = []
    assert len(list(predictor.stream(folder, failed.append))) == 3
    assert [Path(item.path).name for item in failed] == ["broken.png"]


@pytest.mark.parametrize("task", ["detection", "segmentation", "classification", "video"])
def test_a_backbone_in_bfloat16(task: str, run_of: RunOf, image: np.ndarray, video: Path) -> None:
    source: Any = str(video) if task == "video" else image
    predictor = Predictor(run_of(task).checkpoint, score=0.0, device="cpu", dtype="bfloat16")
    backbone, seen = predictor.loaded.model.backbone, []
    linear = next(module for name, module in backbone.named_modules() if name.endswith("fc1"))
    linear.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    found = predictor(source)
    assert set(seen) == {torch.bfloat16}
    expected = Predictor(run_of(task).checkpoint, score=0.0, device="cpu")(source)
    np.testing.assert_allclose(np.sort(found.scores), np.sort(expected.scores), atol=0.02)
    predictor.dtype = "float32"  # nothing of it is left
    np.testing.assert_allclose(predictor(source).scores, expected.scores, atol=1e-5)


def test_a_dtype_that_is_none(run_of: RunOf) -> None:
    with pytest.raises(UserError, match="dtype 'int8': one of float32, bfloat16"):
        Predictor(run_of("classification").checkpoint, dtype="int8")

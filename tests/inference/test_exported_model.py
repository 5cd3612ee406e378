"""What swinv2 export wrote predicts as its checkpoint does; what a file cannot do is refused in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from filelock import FileLock

from swinv2_dense import Predictor, get_model
from swinv2_dense.cli.main import main
from swinv2_dense.errors import UserError
from swinv2_dense.export import ExportedModel, export, load
from swinv2_dense.inference import lean_class_maps
from swinv2_dense.inference.exported_model import file_model
from swinv2_dense.inference.sources import Item
from tests.inference.conftest import CLASSES, Run

pytest.importorskip("onnxscript", reason="exporting needs the export extra")
pytest.importorskip("onnxruntime", reason="exporting needs the export extra")

from tests.export.test_exporting import assert_standard

RunOf = Callable[[str], Run]


@pytest.fixture(scope="session")
def file_of(run_of: RunOf, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """By task and ending, the file that ``swinv2 export`` makes of its run; made once, for all processes of the tests,
    whose runs are the same."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def make(task: str, suffix: str = ".onnx", *options: str) -> Path:
        checkpoint = run_of(task).checkpoint if task != "detection" else without_semantic(run_of(task))
        path = folder / ("_".join(("exported", *task.split(), *options)) + suffix)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                main(["export", str(checkpoint), "--to", suffix[1:], "--out", str(path), *options])
        return path

    return make


@pytest.fixture
def square(image: np.ndarray) -> np.ndarray:
    """48 x 48: its pipeline makes 64 x 64 of it, which the detector's file takes."""
    return np.ascontiguousarray(image[:48, :48])


def without_semantic(run: Run) -> Path:
    """The run's detector as an HTC that can be exported."""
    import torch
    from mmengine.config import Config

    path = run.checkpoint.with_name("without_semantic.pth")
    if not path.exists():
        cfg = Config.fromfile(run.config)
        roi = cfg.model.roi_head
        for key in [key for key in roi if key.startswith("semantic_")]:
            del roi[key]
        roi.type = "HybridTaskCascadeRoIHead"
        made = get_model(cfg, device="cpu")
        torch.manual_seed(0)
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        meta = {"cfg": cfg.pretty_text, "dataset_meta": {"classes": CLASSES["detection"]}}
        torch.save({"state_dict": made.state_dict(), "meta": meta}, path)
    return path


def assert_logits(one: Predictor, other: Predictor, image: np.ndarray) -> None:
    """Untrained models give one class nearly everywhere; their logits differ from pixel to pixel."""
    with mock.patch.object(lean_class_maps, "_is_mmsegs", return_value=False):  # which would leave out the logits
        outputs = [p._forward([p._prepare(Item("a", "a", image))])[0] for p in (one, other)]
    found, wanted = (output.seg_logits.data.numpy() for output in outputs)
    assert wanted.std(axis=(1, 2)).max() > 0
    np.testing.assert_allclose(found, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))


@pytest.mark.slow
def test_a_classifier(run_of: RunOf, file_of: Callable[..., Path], image: np.ndarray) -> None:
    images = [image, image[:40], image[:, ::-1].copy()]
    expected = Predictor(run_of("shallow classification").checkpoint, device="cpu")(images)
    found = Predictor(file_of("shallow classification"), batch=2)(images)
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other) and one.names == other.names and set(one.names) == {"cat", "dog", "bird"}
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    assert_standard(file_of("shallow classification"))


@pytest.mark.slow
def test_a_segmenter_of_any_size(run_of: RunOf, file_of: Callable[..., Path], image: np.ndarray) -> None:
    expected = Predictor(run_of("shallow segmentation").checkpoint, device="cpu")
    found = Predictor(file_of("shallow segmentation"))
    for one in (image, image[:40], np.ascontiguousarray(image.transpose(1, 0, 2))):
        result, wanted = found(one), expected(one)
        assert (result.map != wanted.map).mean() < 1e-3 and result.map.shape == one.shape[:2]
        assert result.names == wanted.names
        assert_logits(found, expected, one)
    assert_standard(file_of("shallow segmentation"))
    metadata = load(file_of("shallow segmentation")).metadata
    mean = expected.loaded.model.data_preprocessor.mean.flatten().tolist()
    assert metadata["mean"] == pytest.approx(mean) and metadata["channel_order"] == "rgb"


@pytest.mark.slow
def test_a_detector_boxes_and_masks(
    run_of: RunOf, file_of: Callable[..., Path], image: np.ndarray, square: np.ndarray, folder: Path, tmp_path: Path
) -> None:
    expected = Predictor(without_semantic(run_of("detection")), score=0.0, device="cpu")(square)
    path = file_of("detection", ".onnx", "--size", "64", "64")
    assert_standard(path)
    predictor = Predictor(path, score=0.0)
    result = predictor(square)
    assert len(result) == len(expected) > 0 and list(result.labels) == list(expected.labels)
    np.testing.assert_allclose(result.boxes, expected.boxes, atol=1e-2)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-4)
    assert result.masks.shape == expected.masks.shape
    assert (result.masks != expected.masks).mean() < 1e-3 and expected.masks.any()
    padded = predictor(image)  # 48 x 64 after its pipeline
    assert padded.masks.shape[1:] == (60, 80)
    assert (padded.boxes[:, [1, 3]] <= 60).all() and (padded.boxes[:, [0, 2]] <= 80).all()
    # the command, in the same test, as others would wait for the file
    assert main(["predict", str(path), str(folder / "a.png"), "--score", "0", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "a.jpg").is_file()
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert lines and {"bbox", "segmentation"} <= set(lines[0])


@pytest.mark.slow
def test_a_video_recogniser(run_of: RunOf, file_of: Callable[..., Path], video: Path) -> None:
    """From torch's own file; ONNX of one is compared where it is written."""
    expected = Predictor(run_of("shallow video").checkpoint, device="cpu")(str(video))
    result = Predictor(file_of("shallow video", ".pt2"))(str(video))
    assert result.names == expected.names and set(result.names) <= set(CLASSES["video"])
    np.testing.assert_allclose(result.probabilities, expected.probabilities, atol=1e-5)


def exported(**metadata: Any) -> ExportedModel:
    return ExportedModel(lambda images: {}, metadata, "model.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bfloat16"}, "dtype bfloat16: .*model.onnx computes as it was exported"),
        ({"tta": True}, "--tta: .*model.onnx is one graph"),
        ({"window": 12}, r"--window: the window is a constant of .*model.onnx \(\[\[4, 4\]\]\)"),
        ({"device": "cuda:0"}, "--device cuda:0: .* leave the device out"),
        ({}, "does not say how images are prepared"),
    ],
)
def test_what_a_file_cannot_do(options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = exported(task="classification", window_size=[[4, 4]])
    monkeypatch.setattr("swinv2_dense.export.loaded.load", lambda path: made)
    with pytest.raises(UserError, match=message):
        Predictor("model.onnx", **options)


def test_files_that_do_not_predict(run_of: RunOf) -> None:
    from mmengine.config import Config

    cfg = Config.fromfile(run_of("classification").config)
    with pytest.raises(UserError, match="gives features, not predictions"):
        file_model(exported(task="features"), cfg)
    with pytest.raises(UserError, match="does detection, and the config is for a model of mmpretrain"):
        file_model(exported(task="detection"), cfg)


@pytest.mark.parametrize(
    ("task", "size", "message"),
    [
        (
            "detection",
            [32, 48],
            "of 48 x 64 pixels, which does not fit into the 32 x 48 of model.onnx: export with --size 64 64",
        ),
        (
            "detection",
            [40, 90],
            "does not fit into the 40 x 90 of model.onnx: export with --size 64 96, which takes both",
        ),
        ("segmentation", [64, 64], "an image of .* pixels, and model.onnx takes 64 x 64: export with --size"),
    ],
)
def test_images_of_another_size_are_named(
    run_of: RunOf, image: np.ndarray, task: str, size: list[int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = exported(task=task, size=size, config=config_text(run_of(task)))
    monkeypatch.setattr("swinv2_dense.export.loaded.load", lambda path: made)
    predictor = Predictor("model.onnx")
    with pytest.raises(UserError, match=message):
        predictor(image)
    skipped: list[Any] = []
    assert list(predictor.stream([image], skipped.append)) == [] and len(skipped) == 1


@pytest.mark.parametrize(
    ("size", "image", "problem"),
    [
        (None, (50, 70), None),
        ([32, 40], (50, 70), None),
        ([32, 32], (50, 70), "sliding window makes an image of 32 x 40 pixels, and model.onnx takes 32 x 32"),
        ([32, 40], (20, 70), "makes an image of 20 x 40 pixels"),
        ([20, 40], (20, 70), None),
    ],
)
def test_windows_of_another_size_are_named(run_of: RunOf, size: Any, image: tuple[int, int], problem: Any) -> None:
    import torch
    from mmengine.config import Config

    cfg = Config.fromfile(run_of("segmentation").config)
    cfg.model.test_cfg = dict(mode="slide", crop_size=(32, 40), stride=(20, 20))
    found = file_model(exported(task="segmentation", size=size), cfg).problem({"inputs": torch.zeros(3, *image)})
    assert found is None if problem is None else problem in str(found)


def config_text(run: Run) -> str:
    from mmengine.config import Config

    return str(Config.fromfile(run.config).pretty_text)


@pytest.mark.slow
def test_a_model_made_by_name_is_written_with_its_config(run_of: RunOf, tmp_path: Path) -> None:
    report = export(get_model(run_of("classification").config, device="cpu"), tmp_path / "model.onnx", size=(64, 64))
    assert "ImageClassifier" in load(report.path).metadata["config"]
    assert len(Predictor(report.path)(np.zeros((90, 70, 3), np.uint8)).probabilities) == 3


@pytest.mark.parametrize("bands", [2, 6])
def test_an_image_of_many_bands(run_of: RunOf, tmp_path: Path, bands: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reaches the file as it reaches the checkpoint's model; one of three is refused."""
    from mmengine.config import Config

    from tests.export.test_deformable import traced
    from tests.tiffs import write_tiff

    write_tiff(tmp_path / "a.tif", bands)
    cfg = Config.fromfile(run_of("shallow segmentation").config)
    cfg.model.backbone.in_channels = bands
    cfg.model.data_preprocessor.update(mean=[100.0], std=[50.0], bgr_to_rgb=False)
    cfg.test_dataloader.dataset.pipeline[0].update(color_type="unchanged", imdecode_backend="tifffile")
    model: Any = get_model(cfg, device="cpu")
    made = traced(model, config=str(cfg.pretty_text), channels=bands)
    monkeypatch.setattr("swinv2_dense.export.loaded.load", lambda path: made)
    predictor, expected = Predictor("model.onnx"), Predictor(model)
    found, wanted = (p(str(tmp_path / "a.tif")) for p in (predictor, expected))
    assert (found.map == wanted.map).all() and found.map.shape == (7, 9)
    with pytest.raises(UserError, match=f"has 3 channels, and the model takes {bands}"):
        predictor(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("average", ["prob", "score", None])
def test_views_are_averaged_as_the_head_does(run_of: RunOf, average: str | None) -> None:
    """Of two views, against mmaction's own average; a head without one gives the scores of every view."""
    import torch
    from mmaction.structures import ActionDataSample
    from mmengine.config import Config

    cfg = Config.fromfile(run_of("video").config)
    cfg.model.cls_head.average_clips = average
    logits = torch.randn(4, 7)
    made = exported(task="video", activation="softmax" if average == "prob" else "none")
    scores = logits.softmax(-1) if average == "prob" else logits
    made._run = lambda images: {"scores": scores.numpy()}
    found = file_model(made, cfg).results(torch.zeros(2, 2, 3, 8, 4, 4), [])
    head = get_model(cfg, device="cpu").cls_head  # type: ignore[union-attr]
    wanted = head.predict_by_feat(logits, [ActionDataSample(), ActionDataSample()])  # type: ignore[operator]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.pred_score, other.pred_score)


def test_a_file_of_probabilities_is_not_averaged_as_logits(run_of: RunOf) -> None:
    from mmengine.config import Config

    cfg = Config.fromfile(run_of("video").config)
    cfg.model.cls_head.average_clips = "score"
    with pytest.raises(UserError, match=r"model\.cls_head\.average_clips=.score. takes logits"):
        file_model(exported(task="video", activation="softmax"), cfg)


def test_a_video_head_that_does_not_average(run_of: RunOf, video: Path) -> None:
    from mmengine.config import Config

    cfg = Config.fromfile(run_of("video").config)
    cfg.model.cls_head.average_clips = None
    result = Predictor(run_of("video").checkpoint, cfg, device="cpu")(str(video))
    assert result.probabilities.shape == (7,)


def test_one_channel_is_cut_at_the_files_threshold(run_of: RunOf) -> None:
    import torch
    from mmengine.config import Config
    from mmseg.structures import SegDataSample

    cfg = Config.fromfile(run_of("segmentation").config)
    cfg.model.decode_head.update(num_classes=2, out_channels=1)
    logits = torch.linspace(-3, 3, 12).view(1, 1, 3, 4)
    for notes, threshold in (({"threshold": 0.0}, 0.0), ({"threshold": 0.7}, 0.7), ({}, 0.3)):
        made = exported(task="segmentation", **notes)
        made._run = lambda images: {"logits": logits.numpy()}
        size = {"img_shape": (3, 4), "ori_shape": (3, 4), "pad_shape": (3, 4)}
        (sample,) = file_model(made, cfg).results(torch.zeros(1, 3, 3, 4), [SegDataSample(metainfo=size)])
        assert torch.equal(sample.pred_sem_seg.data[0], (logits[0, 0].sigmoid() > threshold).long())


def samples_of(size: tuple[int, int], *images: tuple[int, int]) -> list[Any]:
    """Of images that were scaled to half and padded to ``size``."""
    from mmdet.structures import DetDataSample

    metas = [
        dict(img_shape=one, ori_shape=(2 * one[0], 2 * one[1]), batch_input_shape=size, scale_factor=(0.5, 0.5))
        for one in images
    ]
    return [DetDataSample(metainfo=meta) for meta in metas]


def predicted(model: Any, images: Any, samples: list[Any]) -> list[Any]:
    import torch

    with torch.no_grad():
        return [sample.pred_instances for sample in model.predict(images, samples, rescale=True)]


def assert_instances(found: Any, wanted: Any) -> None:
    import torch

    assert len(found.scores) == len(wanted.scores) > 0
    one, other = found.scores.argsort(stable=True), wanted.scores.argsort(stable=True)
    torch.testing.assert_close(found.scores[one], wanted.scores[other], atol=1e-5, rtol=1e-4)
    assert torch.equal(found.labels[one], wanted.labels[other])
    torch.testing.assert_close(found.bboxes[one], wanted.bboxes[other], atol=1e-2, rtol=1e-4)
    if "masks" in wanted:
        assert (found.masks[one] != wanted.masks[other]).float().mean() < 1e-3


def test_mask2former_makes_instances_as_mmdet_does() -> None:
    """Of a padded batch, whose masks are cut and scaled to the images."""
    import torch

    from tests.export.test_deformable import small, traced

    model = small("mask2former_swinv2_t")
    images, samples = torch.randn(2, 3, 64, 96), samples_of((64, 96), (64, 90), (50, 96))
    found = file_model(traced(model), model.cfg).results(images, samples)
    for one, other in zip(found, predicted(model, images, samples), strict=True):
        assert_instances(one.pred_instances, other)
        assert one.pred_instances.masks.shape[1:] == other.masks.shape[1:]


def test_padding_of_two_stage_detectors_is_mmdets() -> None:
    """Boxes end at the image, not at the padding, in every stage: as if mmdet had made a batch of them."""
    import torch

    from tests.export.test_deformable import traced
    from tests.export.test_exporting import detector

    model = detector("cascade_mask_rcnn_swinv2_t")
    model.cfg.model.test_cfg.rcnn.mask_thr_binary = 0.5
    images, sizes = torch.randn(2, 3, 96, 128), [(64, 100), (96, 70)]
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:, height:], image[:, :, width:] = 0, 0
    found = file_model(traced(model, size=[96, 128]), model.cfg).results(images, samples_of((96, 128), *sizes))
    wanted = predicted(model, images, samples_of((96, 128), *sizes))
    for one, other in zip(found, wanted, strict=True):
        assert_instances(one.pred_instances, other)


def test_dino_sees_no_padding() -> None:
    import torch

    from tests.export.test_deformable import small, traced

    model = small("dino_swinv2_t")
    images, sizes = torch.randn(2, 3, 64, 96), [(64, 96), (50, 80)]
    found = file_model(traced(model), model.cfg).results(images, samples_of((64, 96), *sizes))
    for image, size, one in zip(images, sizes, found, strict=True):
        alone = image[None, :, : size[0], : size[1]].contiguous()
        assert_instances(one.pred_instances, predicted(model, alone, samples_of(size, size))[0])
    fixed = file_model(traced(model, size=[64, 96]), model.cfg)
    with pytest.raises(UserError, match=r"makes an image of 50 x 80 pixels, and .* takes 64 x 96: export with --size"):
        fixed.results(images, samples_of((64, 96), *sizes))


@pytest.mark.slow
def test_a_segmenter_by_sliding_windows(file_of: Callable[..., Path], run_of: RunOf, image: np.ndarray) -> None:
    from mmengine.config import Config

    cfg = Config.fromfile(run_of("shallow segmentation").config)
    cfg.model.test_cfg = dict(mode="slide", crop_size=(32, 32), stride=(20, 20))
    expected = Predictor(run_of("shallow segmentation").checkpoint, cfg, device="cpu")
    assert_logits(Predictor(file_of("shallow segmentation"), cfg), expected, image)

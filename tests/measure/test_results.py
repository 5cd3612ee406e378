"""The page of results: up to date with the metafiles, the metafiles with the configs, the paper's numbers its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

pytest.importorskip("mmdet", reason="counting detectors needs the det extra")

from mmcv.image import rescale_size

from swinv2_dense.errors import UserError
from swinv2_dense.measure.complexity import complexity
from swinv2_dense.measure.results import activations, count, recount, render
from swinv2_dense.model_index import read_metafile
from swinv2_dense.models import SwinTransformerV2

ROOT = Path(__file__).parents[2]
METAFILES = sorted(ROOT.glob("configs/*/metafile.yml"))
CONFIGS = ROOT / "configs"


def models(folder: str = "coco") -> dict[str, dict[str, Any]]:
    return {model["Name"]: model for model in read_metafile(CONFIGS / folder / "metafile.yml")["Models"]}


def listed(folder: str) -> dict[str, list[int]]:
    """Config -> input, of a metafile that names every config of its folder."""
    found = {model["Config"]: model["Metadata"]["Input"] for model in models(folder).values()}
    assert set(found) == {str(path.relative_to(ROOT)) for path in (CONFIGS / folder).rglob("*.py")}
    return found


def test_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "results.md").read_text() == render(METAFILES)


def test_every_detector_is_listed_with_its_test_size() -> None:
    for path, (*_, height, width) in listed("coco").items():
        cfg = Config.fromfile(ROOT / path)
        divisor = cfg.model.data_preprocessor.pad_size_divisor
        sides = reversed(rescale_size((640, 480), cfg.test_scale))
        assert [height, width] == [-(-side // divisor) * divisor for side in sides], path


def test_every_segmenter_is_listed_with_its_test_size() -> None:
    for path, (*_, height, width) in listed("ade20k").items():
        resize = Config.fromfile(ROOT / path).test_dataloader.dataset.pipeline[1]
        assert (width, height) == rescale_size((640, 480), resize.scale), path


def test_every_video_model_is_listed_with_one_view() -> None:
    for path, size in listed("kinetics400").items():
        steps = {step.type: step for step in Config.fromfile(ROOT / path).test_dataloader.dataset.pipeline}
        assert size == [1, 1, 3, steps["SampleFrames"].clip_len, *[steps["Resize"].scale[1]] * 2], path


def test_every_pre_training_is_listed_with_its_crop() -> None:
    for path, size in listed("simmim").items():
        crop = Config.fromfile(ROOT / path).train_dataloader.dataset.pipeline[1]
        assert size == [1, 3, crop.scale, crop.scale], path


def test_what_the_authors_released_of_simmim_is_named_with_its_source() -> None:
    fine_tuned, pre_trained = models("imagenet"), models("simmim")
    for size, name, top1 in (("b", "base", 85.04), ("l", "large", 85.91)):
        classifier = f"swinv2_{size}_w14_224_simmim"
        (result,) = fine_tuned[classifier]["Results"]
        assert result["Metrics"] == {"top-1": top1} and "MODELHUB.md" in result["Source"]
        assert pre_trained[f"simmim_swinv2_{size}"]["Downstream"] == [classifier]
        assert fine_tuned[classifier]["Weights"].endswith(f"/finetune_swinv2_{name}_1k_500k.pth")
        assert pre_trained[f"simmim_swinv2_{size}"]["Weights"].endswith(f"/swinv2_{name}_1k_500k.pth")
    assert [name for name, model in pre_trained.items() if "Weights" in model] == ["simmim_swinv2_b", "simmim_swinv2_l"]


PAPER = {
    "coco": {
        "htc_swinv2_l": [58.8, 51.1],
        "htc_swinv2_l_test_w48": [58.9, 51.2],
        "htc_swinv2_l_test_ms_w48": [60.2, 52.1, 60.8, 52.7],
        "htc_swinv2_g": [61.7, 53.3],
        "htc_swinv2_g_test_w48": [61.9, 53.4],
        "htc_swinv2_g_test_ms_w48": [62.5, 53.7, 63.1, 54.4],
        "cascade_mask_rcnn_swinv2_t": [51.1],
    },
    "ade20k": {
        "upernet_swinv2_t": [47.0],
        "upernet_swinv2_l": [55.9],
        "upernet_swinv2_g": [59.1],
        "upernet_swinv2_g_test_896_w56": [59.3, 59.9],
    },
    "kinetics400": {
        "swinv2_g_320_stage2": [83.2],
        "swinv2_g_384_1x1": [83.4],
        "swinv2_g_384_4x5": [86.8],
    },
}


@pytest.mark.parametrize("folder", PAPER)
def test_papers_numbers(folder: str) -> None:
    reported = {name: model["Results"] for name, model in models(folder).items() if model["Results"]}
    scores = {name: [v for r in results for v in r["Metrics"].values()] for name, results in reported.items()}
    assert scores == PAPER[folder]
    sources = {result["Source"] for results in reported.values() for result in results}
    assert sources == {"reported in the paper, not reproduced here"}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("coco", "htc_swinv2_t"),
        ("coco", "cascade_mask_rcnn_swinv2_t"),
        ("coco", "mask_rcnn_swinv2_t"),
        ("coco", "dino_swinv2_t"),
        ("ade20k", "upernet_swinv2_t"),
        ("kinetics400", "swinv2_t_256"),
        ("simmim", "simmim_swinv2_b"),
    ],
)
def test_metafile_says_what_is_counted(folder: str, name: str) -> None:
    pytest.importorskip("mmdet" if folder == "coco" else "mmseg" if folder == "ade20k" else "av")
    model = models(folder)[name]
    counted = count(ROOT / model["Config"], tuple(model["Metadata"]["Input"]))
    assert model["Metadata"]["Parameters"] == counted.parameters
    assert model["Metadata"]["FLOPs"] == counted.flops // 2
    size, held = activations(ROOT / model["Config"])
    assert model["Metadata"]["Training input"] == list(size)
    assert model["Metadata"]["Activations"] == pytest.approx(held, rel=0.05)


def test_transformer_decoders_are_counted_as_their_authors_do() -> None:
    """Mask2Former (arXiv 2112.01527, table 1) with Swin-T has 47 M parameters and 232 G at about this size."""
    metadata = models("coco")["mask2former_swinv2_t"]["Metadata"]
    assert metadata["Parameters"] == pytest.approx(47e6, rel=0.02)
    assert metadata["FLOPs"] == pytest.approx(232e9, rel=0.05)


def test_heads_are_counted_box_by_box() -> None:
    names = ("htc_without_semantic_swinv2_t", "htc_swinv2_t")
    without, with_semantic = (models()[name]["Metadata"]["FLOPs"] for name in names)
    backbone = complexity(lambda: SwinTransformerV2("tiny", window_size=32), 1, 3, 1120, 1472).flops // 2
    # two hidden layers and two outputs for each of 1000 proposals, three times; four convolutions, the deconvolution
    # and the logits for each of 100 detections, three times
    boxes = 3 * 1000 * (256 * 49 * 1024 + 1024 * 1024 + 1024 * (81 + 4))
    convolutions = 4 * 256 * 256 * 9 * 14**2 + 256 * 256 * 4 * 14**2 + 256 * 80 * 28**2
    masks = 100 * (3 * convolutions + 2 * 256 * 256 * 14**2)  # and two that take in the stage before
    assert backbone + boxes + masks < without < with_semantic
    # what is left are pyramid and RPN: 1x1 and 3x3 convolutions, and again 3x3 ones, at strides 4 to 64
    sides = [(1120 // stride, 1472 // stride) for stride in (4, 8, 16, 32)]
    pyramid = sum(h * w * (c * 256 + 9 * 256 * 256) for (h, w), c in zip(sides, (96, 192, 384, 768), strict=True))
    rpn = sum(h * w * (9 * 256 * 256 + 256 * 3 * 5) for h, w in [*sides, (18, 23)])
    assert without == pytest.approx(backbone + boxes + masks + pyramid + rpn, rel=1e-3)


def test_recount_keeps_what_it_does_not_count(tmp_path: Path) -> None:
    kept = models()["mask_rcnn_swinv2_t"]
    kept["Metadata"] = {"Input": [1, 3, 64, 64]}
    path = tmp_path / "metafile.yml"
    path.write_text(f"Collections: [{{Name: some}}]\nModels: [{kept}]\n".replace("None", "null"))
    recount(path, ROOT)
    content = read_metafile(path)
    assert content["Collections"] == [{"Name": "some"}]
    assert content["Models"][0]["Config"] == kept["Config"]
    assert content["Models"][0]["Metadata"]["FLOPs"] > 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["metafile.yml"]


@pytest.mark.parametrize("text", ["a: [", "Models: 3"])
def test_a_broken_metafile_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "metafile.yml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"metafile.yml (is no YAML|has no list of Models).*correct it"):
        read_metafile(path)

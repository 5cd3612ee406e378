"""tools/train.py and tools/test.py, from the command line to files, on a tiny HTC.

What training saved can be tested and resumed; a fast-dev-run does everything and saves nothing; each mistake is one
line on stderr with status 1 (what is told before anything is built: tests/engine/test_preflight.py).
"""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook

from swinv2_dense.engine.runner import launch
from swinv2_dense.engine.runner.dense_runner import DenseRunner
from swinv2_dense.errors import UserError
from tests.tiny import mistake, tool


def test_train_then_test_then_resume(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = tmp_path / "work"
    tool("train").main([str(config), "--work-dir", str(work)])
    checkpoint = work / "epoch_1.pth"
    saved = torch.load(checkpoint, map_location="cpu", weights_only=False)["state_dict"]
    assert saved["backbone.layers.0.pretrained_window_size"].tolist() == [4, 4]

    out, pictures = tmp_path / "predictions.pkl", tmp_path / "pictures"
    options = ["--work-dir", str(work / "test"), "--out", str(out), "--show-dir", str(pictures)]
    tool("test").main([str(config), str(checkpoint), *options])
    predictions = pickle.loads(out.read_bytes())
    assert [len(prediction["pred_instances"]["scores"]) for prediction in predictions] == [5, 5]
    assert len(list(pictures.glob("*.jpg"))) == 2
    assert not list(tmp_path.glob("*.part.pkl"))
    tool("test").main([str(config), str(checkpoint), *options[:2], "--out", str(out), "--dtype", "bfloat16"])
    scores, half = (
        torch.cat([prediction["pred_instances"]["scores"] for prediction in found])
        for found in (predictions, pickle.loads(out.read_bytes()))
    )
    assert not torch.equal(scores, half)
    torch.testing.assert_close(scores, half, rtol=0, atol=0.02)

    longer = ["--cfg-options", "train_cfg.max_epochs=2"]
    tool("train").main([str(config), "--work-dir", str(work), "--resume", *longer])
    resumed = torch.load(work / "epoch_2.pth", map_location="cpu", weights_only=False)
    assert resumed["meta"]["iter"] == 4  # 4 pictures in batches of 2, twice
    steps = {int(state["step"]) for state in resumed["optimizer"]["state"].values()}
    assert steps == {4}  # the optimizer went on as well

    other = ["--cfg-options", "model.backbone.arch.embed_dims=16", "model.neck.in_channels=[16,32,64,128]"]
    line = mistake("test", [str(config), str(checkpoint), "--work-dir", str(work), *other], capsys)
    assert "patch_embed.proj.weight" in line
    assert "(8, 3, 4, 4)" in line
    assert "(16, 3, 4, 4)" in line
    fewer = ["--cfg-options", "model.roi_head.mask_head.2.num_convs=5"]
    assert "lacks 2 parameters" in mistake("test", [str(config), str(work), "--work-dir", str(work), *fewer], capsys)

    resumed["meta"]["dataset_meta"]["classes"] = ("triangle", "circle", "square", "star")
    torch.save(resumed, tmp_path / "other_order.pth")
    line = mistake("test", [str(config), str(tmp_path / "other_order.pth"), "--work-dir", str(work)], capsys)
    assert "label 0 is 'triangle' in the weights and 'circle' in the data" in line


def test_averaged_weights_are_tested_and_the_trained_ones_resumed(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text() + 'custom_hooks = [dict(type="EMAHook", momentum=0.5)]\n')
    work = tmp_path / "work"
    tool("train").main([str(config), "--work-dir", str(work)])
    saved = torch.load(work / "epoch_1.pth", map_location="cpu", weights_only=False)
    averaged, trained = saved["state_dict"], saved["ema_state_dict"]  # mmengine's hook saves them in this order
    name = "rpn_head.rpn_cls.weight"
    assert not torch.equal(averaged[name], trained[f"module.{name}"])

    cfg = Config.fromfile(work / "tiny.py")  # as it was trained, at its end: resumed, nothing is left to do
    cfg.resume = True
    resumed = launch.train(cfg).model.state_dict()
    assert all(torch.equal(resumed[key], trained[f"module.{key}"]) for key in averaged)

    cfg = Config.fromfile(work / "tiny.py")
    cfg.update(load_from=str(work / "epoch_1.pth"), experiment_name="tested")
    runner = DenseRunner.from_cfg(cfg)
    runner.test()
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    assert torch.equal(hook.ema_model.module.state_dict()[name], averaged[name])


@pytest.mark.parametrize("iteration_based", [False, True])
def test_fast_dev_run_does_everything_and_saves_nothing(config: Path, tmp_path: Path, iteration_based: bool) -> None:
    if iteration_based:
        loop = "dict(_delete_=True, type='IterBasedTrainLoop', max_iters=90, val_interval=30)"
        sampler = "dict(sampler=dict(type='InfiniteSampler'))"
        lines = (
            *(f"train_cfg = {loop}", f"train_dataloader.update({sampler})", "log_processor = dict(by_epoch=False)"),
            *("param_scheduler = None", "default_hooks = dict(checkpoint=dict(by_epoch=False))"),
        )
        config.write_text("\n".join((config.read_text(), *lines)))
    work = tmp_path / "work"
    tool("train").main([str(config), "--work-dir", str(work), "--fast-dev-run"])
    assert not list(work.rglob("*.pth"))
    (scalars,) = (work / "fast_dev_run").rglob("vis_data/scalars.json")
    steps = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert sum("loss" in step for step in steps) == 1
    assert sum("coco/bbox_mAP" in step for step in steps) == 1
    (tested,) = (work / "fast_dev_run").glob("*/*.json")
    assert "coco/segm_mAP" in tested.read_text()


def test_missing_semantic_maps_name_the_config_without_the_branch(
    config: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = ["--work-dir", str(tmp_path / "work")]
    shutil.rmtree(coco / "stuffthingmaps")
    line = mistake("train", [str(config), *work], capsys)
    assert "stuffthingmaps/train2017/ do not exist" in line
    assert "coco/htc_without_semantic_swinv2_t" in line


def test_weights_without_the_branch_are_not_tested_with_it(
    config: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "without.pth"
    torch.save({"state_dict": {"backbone.patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}}, weights)
    line = mistake("test", [str(config), str(weights), "--work-dir", str(tmp_path / "work")], capsys)
    assert "without the semantic branch" in line
    assert "coco/htc_without_semantic_swinv2_t" in line


def test_truncated_picture(config: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = sorted((coco / "train2017").iterdir())[0]
    picture.write_bytes(picture.read_bytes()[:200])
    for workers in ("0", "1"):
        options = ["--cfg-options", f"train_dataloader.num_workers={workers}"]
        line = mistake("train", [str(config), "--work-dir", str(tmp_path / "work"), *options], capsys)
        assert picture.name in line
        assert "truncated" in line


def test_amp_without_gpu_trains_in_bfloat16(config: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    tool("train").main([str(config), "--work-dir", str(tmp_path), "--amp"])
    dumped = (tmp_path / "tiny.py").read_text()
    assert "swinv2_dense.BackboneAmpOptimWrapper" in dumped
    saved = torch.load(tmp_path / "epoch_1.pth", weights_only=False)["state_dict"]
    assert all(torch.isfinite(value).all() for value in saved.values())


def test_format_only_writes_what_the_test_server_takes(config: Path, coco: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    work = tmp_path / "work"
    tool("train").main([str(config), "--work-dir", str(work)])
    # a model of one iteration finds nothing above the usual score
    low = ["--cfg-options", "model.test_cfg.rcnn.score_thr=0.0"]
    prefix = tmp_path / "results"
    arguments = [str(config), str(work / "epoch_1.pth"), "--work-dir", str(work)]
    tool("test").main([*arguments, "--format-only", str(prefix), *low])
    truth = COCO(str(coco / "annotations" / "instances_val2017.json"))
    for kind in ("bbox", "segm"):
        found = truth.loadRes(f"{prefix}.{kind}.json")
        assert found.getAnnIds()
        assert {a["category_id"] for a in found.anns.values()} <= set(truth.getCatIds())
    with pytest.raises(UserError, match="there is no folder"):
        tool("test").main([*arguments, "--format-only", str(tmp_path / "absent" / "results")])

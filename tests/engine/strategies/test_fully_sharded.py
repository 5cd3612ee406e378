"""Two processes that share a model train as one does, whatever they share of it, and resume from their checkpoints; one
process reads what they saved.

One process with gradients accumulated over two images computes what two processes with an image each compute, the
same normalisation of every loss included. The samplers of boxes take all there are: nothing is left to chance.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from swinv2_dense.demo.shapes_coco import write_shapes_coco
from swinv2_dense.engine.runner.training_state import read_training_state
from tests.engine.sharded_run import STRATEGIES, read_losses, train
from tests.tiny import CONFIG

ITERATIONS, SAVED = 5, 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharding")
    write_shapes_coco(folder / "coco", train=6, val=2, side=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(folder / "coco"))
        (folder / "tiny.py").write_text(CONFIG)
        cfg = Config.fromfile(folder / "tiny.py")
    cfg.model.backbone.update(frozen_stages=1, with_cp=True)
    everything = dict(type="RandomSampler", num=4096, pos_fraction=0.5, neg_pos_ub=-1)
    cfg.model.train_cfg.rpn.sampler = dict(everything, add_gt_as_proposals=False)
    for stage in cfg.model.train_cfg.rcnn:
        stage.sampler = dict(everything, add_gt_as_proposals=True)
    cfg.train_dataloader.update(batch_size=1, sampler=dict(type="InfiniteSampler"))
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=ITERATIONS, val_interval=1000)
    cfg.param_scheduler = None
    # small steps: with larger ones a difference in the last digit is ten times larger at every iteration
    cfg.optim_wrapper.optimizer.lr = 1e-4
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", by_epoch=False, interval=SAVED)
    cfg.merge_from_dict({"env_cfg.dist_cfg.backend": "gloo", "log_level": "WARNING", "visualizer.vis_backends": []})
    cfg.dump(folder / "whole.py")
    cfg = config(folder, "start", **{"train_cfg.max_iters": 1})
    status, output = train(cfg, 1)
    assert status == [0], output
    state = torch.load(folder / "start" / "iter_1.pth", weights_only=False)["state_dict"]
    for name, value in state.items():  # from scratch the residual branches begin at zero, and would not be seen
        if name.startswith("backbone.layers.") and name.endswith(("norm1.weight", "norm2.weight")):
            value.fill_(1)
    torch.save({"state_dict": state}, folder / "start.pth")
    return folder


def config(root: Path, name: str, *, validate: bool = False, **options: Any) -> Config:
    cfg = Config.fromfile(root / "whole.py")
    if not validate:
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.merge_from_dict({"work_dir": str(root / name), "experiment_name": name, **options})
    return cfg


@pytest.fixture(scope="module")
def alone(root: Path) -> dict[int, dict[str, float]]:
    """Losses of one process, by the number of the image."""
    options = {"train_cfg.max_iters": 2 * ITERATIONS, "optim_wrapper.accumulative_counts": 2}
    status, output = train(config(root, "alone", load_from=str(root / "start.pth"), **options), 1)
    assert status == [0], output
    return read_losses(root / "alone", 0)


@pytest.mark.parametrize("strategy", ["ddp", "zero1", "fsdp"])
def test_as_one_process(root: Path, alone: dict[int, dict[str, float]], strategy: str) -> None:
    cfg = config(root, strategy, load_from=str(root / "start.pth"))
    cfg.merge_from_dict(Config.fromfile(STRATEGIES / f"{strategy}.py").to_dict())
    if strategy == "fsdp":
        cfg.strategy.mixed_precision = None
    status, output = train(cfg, 2)
    assert status == [0, 0], output
    for rank in range(2):
        mine = read_losses(root / strategy, rank)
        assert sorted(mine) == list(range(1, ITERATIONS + 1))
        for iteration, losses in mine.items():
            assert losses == pytest.approx(alone[2 * iteration - 1 + rank], abs=1e-4, rel=1e-4)
    together, single = (
        read_training_state(str(root / name / f"iter_{last}.pth"))
        for name, last in ((strategy, ITERATIONS), ("alone", 2 * ITERATIONS))
    )
    assert {k: v.shape for k, v in together["state_dict"].items()} == {
        k: v.shape for k, v in single["state_dict"].items()
    }
    start = torch.load(root / "start.pth", weights_only=False)["state_dict"]
    for name, value in single["state_dict"].items():
        # AdamW takes a full step whichever sign the last digit of a gradient of nearly zero has
        learnt, differing = (value - start[name]).float().norm(), (value - together["state_dict"][name]).float().norm()
        assert differing <= 0.05 * learnt, name
    ours, theirs = together["optimizer"], single["optimizer"]
    assert [group["params"] for group in ours["param_groups"]] == [group["params"] for group in theirs["param_groups"]]
    assert {k: v["exp_avg"].shape for k, v in ours["state"].items()} == {
        k: v["exp_avg"].shape for k, v in theirs["state"].items()
    }

    (root / strategy / f"iter_{ITERATIONS}.pth").unlink()
    before = {rank: read_losses(root / strategy, rank) for rank in range(2)}
    cfg.update(resume=True, load_from=None)
    status, output = train(cfg, 2)
    assert status == [0, 0], output
    for rank in range(2):
        assert read_losses(root / strategy, rank) == before[rank]
    assert_went_on(root / strategy)


def assert_went_on(folder: Path) -> None:
    """Losses are appended: the iterations after the checkpoint are there twice, and so were done again."""
    for rank in range(2):
        lines = (folder / f"losses_{rank}.jsonl").read_text().splitlines()
        assert len(lines) == ITERATIONS + ITERATIONS - SAVED
    assert (folder / f"iter_{ITERATIONS}.pth").exists()


def test_fsdp_in_bfloat16_trains_and_validates(root: Path, alone: dict[int, dict[str, float]]) -> None:
    cfg = config(root, "bfloat16", validate=True, load_from=str(root / "start.pth"), **{"train_cfg.max_iters": 2})
    cfg.merge_from_dict(Config.fromfile(STRATEGIES / "fsdp.py").to_dict())
    cfg.log_level = "INFO"
    status, output = train(cfg, 2)
    assert status == [0, 0], output
    assert "coco/segm_mAP" in output[0]
    for rank in range(2):
        for iteration, losses in read_losses(root / "bfloat16", rank).items():
            exact = alone[2 * iteration - 1 + rank]
            assert losses["loss"] != exact["loss"]
            assert losses["loss"] == pytest.approx(exact["loss"], rel=0.01 if iteration == 1 else 0.1)
    saved = read_training_state(str(root / "bfloat16" / "iter_2.pth"))
    assert {value.dtype for name, value in saved["state_dict"].items() if name.endswith("weight")} == {torch.float32}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_deepspeed(root: Path, alone: dict[int, dict[str, float]], stage: int) -> None:
    pytest.importorskip("deepspeed")
    name = f"deepspeed_zero{stage}"
    cfg = config(root, name, load_from=str(root / "start.pth"))
    cfg.merge_from_dict(Config.fromfile(STRATEGIES / f"{name}.py").to_dict())
    cfg.strategy.mixed_precision = None
    status, output = train(cfg, 2)
    assert status == [0, 0], output
    before = {rank: read_losses(root / name, rank) for rank in range(2)}
    for rank in range(2):
        for iteration, losses in before[rank].items():
            assert losses == pytest.approx(alone[2 * iteration - 1 + rank], abs=1e-4, rel=1e-4)
    shutil.rmtree(root / name / f"iter_{ITERATIONS}.pth")
    (root / name / "last_checkpoint").write_text(str(root / name / f"iter_{SAVED}.pth"))
    cfg.update(resume=True, load_from=None)
    status, output = train(cfg, 2)
    assert status == [0, 0], output
    for rank in range(2):
        for iteration, losses in read_losses(root / name, rank).items():
            assert losses == pytest.approx(before[rank][iteration], abs=1e-4, rel=1e-4)
    assert_went_on(root / name)

"""Entries of a wrong type or value are one line that names key, value and what is expected."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from swinv2_dense.checks.types import check_types
from swinv2_dense.errors import UserError


def config() -> Config:
    return Config(
        dict(
            model=dict(type="A", backbone=dict(type="B")),
            train_dataloader=dict(batch_size=2, num_workers=0, dataset=dict(type="D"), sampler=dict(type="S")),
            val_dataloader=None,
            train_cfg=dict(max_iters=10),
            val_cfg=None,
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.1), clip_grad=None),
            param_scheduler=[dict(type="LinearLR")],
            default_hooks=dict(checkpoint=dict(interval=1), logger=None),
            env_cfg=dict(dist_cfg=dict(backend="gloo")),
            log_level="INFO",
            test_dataloader=dict(batch_size=1, dataset=dict(type="D")),
            test_cfg=dict(),
            test_evaluator=[dict(type="M")],
            randomness=dict(seed=0),
            load_from=None,
        )
    )


def test_good_ones_pass() -> None:
    check_types(config(), "train")
    check_types(config(), "test")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("model", 5), ("model", "a"), ("model", []), ("model", {}), ("model.backbone", 3)],
        *[("train_dataloader", 3), ("train_dataloader.batch_size", 0), ("train_dataloader.batch_size", 2.5)],
        *[("train_dataloader.batch_size", "2"), ("train_dataloader.batch_size", True)],
        *[("train_dataloader.num_workers", -1), ("train_dataloader.num_workers", 10**9)],
        *[("train_dataloader.dataset", "coco"), ("train_dataloader.sampler", "S")],
        *[("train_cfg", 5), ("train_cfg.max_iters", 0), ("train_cfg.max_iters", 1e5), ("train_cfg.val_interval", 0)],
        *[("optim_wrapper", "AdamW"), ("optim_wrapper.optimizer", "AdamW"), ("optim_wrapper.optimizer.lr", "fast")],
        *[("optim_wrapper.optimizer.lr", float("nan")), ("optim_wrapper.optimizer.lr", -1), ("optim_wrapper", None)],
        *[("optim_wrapper.optimizer.weight_decay", None), ("optim_wrapper.clip_grad", 35)],
        *[("optim_wrapper.accumulative_counts", 0), ("param_scheduler", "cosine"), ("param_scheduler", [1])],
        *[("default_hooks", 3), ("default_hooks.checkpoint", "yes"), ("default_hooks.checkpoint.interval", 0.5)],
        *[("default_hooks.logger", 50), ("env_cfg", 3), ("env_cfg.dist_cfg", "gloo"), ("log_level", "FOO")],
        *[("randomness", 3), ("randomness.seed", -1), ("randomness.seed", "a"), ("load_from", 3), ("resume", "yes")],
        *[("work_dir", 3), ("visualizer", 3), ("custom_imports", ["a"]), ("custom_hooks", 3), ("default_scope", 3)],
        *[("model.neck", "FPN"), ("model.roi_head", 3), ("model.data_preprocessor", 3), ("model.decode_head", [1])],
        *[("train_dataloader.dataset.pipeline", 5), ("train_dataloader.dataset.pipeline", ["Resize"])],
        *[("model", "x" * 5000), ("train_dataloader", None), ("auto_scale_lr", True), ("log_processor", 1)],
    ],
)
def test_wrong_values_are_named(key: str, value: Any) -> None:
    cfg = config()
    parent, _, last = key.rpartition(".")
    node = cfg
    for part in filter(None, parent.split(".")):
        node = node[part]
    node[last] = value
    with pytest.raises(UserError) as error:
        check_types(cfg, "train")
    line = str(error.value)
    assert key in line and len(line) < 300
    assert ("must be" in line and repr(value)[:20] in line) or "needs" in line


@pytest.mark.parametrize("key", ["model", "train_dataloader", "train_cfg", "optim_wrapper"])
def test_what_is_missing_is_named(key: str) -> None:
    cfg = config()
    cfg.pop(key)
    with pytest.raises(UserError, match=f"the config has no {key}, which training needs"):
        check_types(cfg, "train")


def test_a_test_needs_its_own() -> None:
    cfg = config()
    for key in ("train_dataloader", "optim_wrapper", "train_cfg"):
        cfg.pop(key)
    check_types(cfg, "test")
    cfg.test_dataloader = None
    with pytest.raises(UserError, match="None as its test_dataloader, which testing needs"):
        check_types(cfg, "test")


def test_length_and_data_are_needed() -> None:
    cfg = config()
    cfg.train_cfg.pop("max_iters")
    with pytest.raises(UserError, match="neither max_epochs nor max_iters"):
        check_types(cfg, "train")
    cfg = config()
    cfg.train_dataloader.pop("dataset")
    with pytest.raises(UserError, match="train_dataloader has no dataset"):
        check_types(cfg, "train")


@pytest.mark.parametrize("lacking", ["val_dataloader", "val_cfg", "val_evaluator", "test_cfg", "test_evaluator"])
def test_what_belongs_together_is_there_or_not(lacking: str) -> None:
    cfg = config()
    cfg.update(val_dataloader=cfg.test_dataloader, val_cfg={}, val_evaluator={"type": "M"})
    check_types(cfg, "train")
    cfg[lacking] = None
    split = lacking.partition("_")[0]
    with pytest.raises(UserError, match=f"has {split}_[a-z]+ and no {lacking}: set {split}_dataloader, {split}_cfg, "):
        check_types(cfg, "train")


@pytest.mark.parametrize("purpose", ["browse", "plan"])
def test_looking_at_data_and_planning_need_less(purpose: str) -> None:
    cfg = config()
    for key in ("test_dataloader", "test_cfg", "test_evaluator", "train_cfg"):
        cfg.pop(key)
    check_types(cfg, purpose)
    cfg.train_dataloader = None
    with pytest.raises(UserError, match=f"None as its train_dataloader, which {purpose.removesuffix('e')}n?ing needs"):
        check_types(cfg, purpose)

"""Limits of images, and evaluators that read what the data set reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from swinv2_dense.checks.loaders import check_evaluator, max_image_pixels
from swinv2_dense.errors import UserError


@pytest.mark.parametrize("value", [0, "many", None, float("inf"), float("nan"), True])
def test_limits_that_are_none(value: Any) -> None:
    with pytest.raises(UserError, match="max_image_pixels="):
        max_image_pixels(Config({"max_image_pixels": value}))


def test_limits() -> None:
    assert max_image_pixels(Config({"max_image_pixels": 1e6})) == 1_000_000
    assert max_image_pixels(Config({})) == 178_956_970


def test_the_evaluator_reads_what_the_data_set_reads(tmp_path: Path) -> None:
    for name, text in (("val.json", "a"), ("copy.json", "a"), ("other.json", "b")):
        (tmp_path / name).write_text(text)
    dataset = {"data_root": str(tmp_path), "ann_file": "val.json"}

    def check(name: str) -> None:
        metrics = [{"type": "DumpResults"}, {"type": "CocoMetric", "ann_file": f"{tmp_path}/./{name}"}]
        check_evaluator(metrics, "val_evaluator", "val_dataloader.dataset", dataset)

    check("val.json")
    check("copy.json")
    with pytest.raises(UserError, match=r"val_evaluator\.ann_file is .*other\.json, but val_dataloader\.dataset reads"):
        check("other.json")
    with pytest.raises(UserError, match=r"gone\.json does not exist: correct val_evaluator\.ann_file"):
        check("gone.json")
    check_evaluator({"type": "CocoMetric"}, "val_evaluator", "d", dataset)
    check_evaluator(None, "val_evaluator", "d", dataset)

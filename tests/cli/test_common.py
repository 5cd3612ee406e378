"""A mistake is one printable line, an interruption says so, and only what nobody foresaw keeps its traceback."""

from __future__ import annotations

import argparse
import errno
import os
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NoReturn

import pytest

from swinv2_dense.cli import common
from swinv2_dense.errors import UserError
from swinv2_dense.files import CannotWriteError


def failing(error: BaseException) -> NoReturn:
    raise error


def said(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = common.run(lambda: failing(error))
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("a is wrong:\n  correct it"), "error: a is wrong: correct it\n"),
        (CannotWriteError("a cannot be written", 28, "No space"), "error: a cannot be written\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "error: the disk is full: make room\n"),
        (OSError(errno.EISDIR, "Is a directory", "a/b"), "error: a/b: Is a directory\n"),
        (
            KeyError("metric should be one of 'bbox', 'segm', but got foo."),
            "error: the evaluator has metric='foo', which is none of 'bbox', 'segm': correct val_evaluator or "
            "test_evaluator\n",
        ),
        (
            RuntimeError(
                "stack expects each tensor to be equal size, but got [3, 51, 76] at entry 0 and [3, 51, 68] at entry 1"
            ),
            "error: the images of a batch have different sizes ([3, 51, 76] and [3, 51, 68], channels first): end the "
            "resizing in the pipeline with a crop of one size, or take batches of one\n",
        ),
        (
            BrokenProcessPool("A child process terminated abruptly"),
            "error: a worker process was killed, as the system does where memory is full: give fewer --workers\n",
        ),
        (UserError("key \x1b[31mred\x07"), "error: key \\x1b[31mred\\x07\n"),
    ],
)
def test_mistakes_are_one_printable_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(error, capsys) == (1, line)


def test_long_lines_are_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = said(UserError("x" * 10**6), capsys)
    assert status == 1 and len(text) < 3000


def test_worker_process_tracebacks_are_looked_into() -> None:
    text = 'Caught UserError in DataLoader worker process 0.\n  File "a"\nswinv2_dense.errors.UserError: a is wrong\n'
    assert common.explain(UserError(text)) == "a is wrong"


@pytest.mark.parametrize(
    ("text", "line"), [("", "interrupted\n"), ("training was interrupted", "training was interrupted\n")]
)
def test_interruption(text: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(KeyboardInterrupt(*filter(None, [text])), capsys) == (130, line)


def test_what_nobody_foresaw_keeps_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, text = said(ZeroDivisionError("x"), capsys)
    assert status == 1 and "Traceback" in text
    monkeypatch.setenv(common.TRACEBACK, "1")
    status, text = said(UserError("x"), capsys)
    assert status == 1 and "Traceback" in text


def arguments(config: object) -> argparse.Namespace:
    return argparse.Namespace(config=str(config), cfg_options=None, launcher="none", work_dir=None, local_rank=0)


@pytest.mark.parametrize("name", ["x" * 5000, "a\nb.py", "\x1b[31m.py", "a\0b.py"])
def test_odd_names_of_configs_are_one_line(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert common.run(lambda: common.load_config(arguments(name))) == 1
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1 and "\x1b" not in text and len(text) < 2500


def test_config_that_raises_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1 / 0")
    with pytest.raises(UserError, match=r"a\.py cannot be read: ZeroDivisionError"):
        common.load_config(arguments(tmp_path / "a.py"))


CONFIG = """
side = 64
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(side, side))]
test_dataloader = dict(dataset=dict(type="CocoDataset", pipeline=test_pipeline))
model = dict(
    type="MaskRCNN", data_preprocessor=dict(type="P"), test_cfg=dict(rcnn=dict(score_thr=0.1, nms=dict(type="nms")))
)
data_preprocessor = model["data_preprocessor"]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(norm1=dict(decay_mult=0.0))))
"""


def options(tmp_path: Path, **given: object) -> argparse.Namespace:
    (tmp_path / "a.py").write_text(CONFIG)
    args = arguments(tmp_path / "a.py")
    args.cfg_options = {key.replace("__", "."): value for key, value in given.items()}
    return args


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("test_pipeline__1__scale", "test_dataloader.dataset.pipeline.1.scale"),
        ("side", "model.backbone"),
        ("data_preprocessor__size", "model.data_preprocessor.size"),
    ],
)
def test_options_that_nothing_would_read_are_refused(tmp_path: Path, key: str, instead: str) -> None:
    """Other entries were made of these while the config was read: changed afterwards, they change nothing."""
    with pytest.raises(UserError, match=f"only used while the config is read, so nothing would change.*{instead}"):
        common.load_config(options(tmp_path, **{key: 3}))


@pytest.mark.parametrize(("key", "meant"), [("score_th", "score_thr"), ("scorethr", "score_thr"), ("nmss", "nms")])
def test_slips_in_dicts_that_take_any_key_are_refused(tmp_path: Path, key: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"model\.test_cfg\.rcnn has no '{key}': did you mean '{meant}'"):
        common.load_config(options(tmp_path, **{f"model__test_cfg__rcnn__{key}": 1}))


def test_options_that_are_read_are_taken(tmp_path: Path) -> None:
    given = {
        "model__test_cfg__rcnn__score_thr": 0.5,
        "model__test_cfg__rcnn__max_per_img": 5,
        "model__test_cfg__rcnn__nms__typo": 5,  # its constructor will refuse it
        "test_dataloader__dataset__pipeline__1__scale": (8, 8),
        "optim_wrapper__paramwise_cfg__custom_keys__norm2": 1,
        "max_image_pixels": 100,
    }
    cfg = common.load_config(options(tmp_path, **given))
    assert cfg.model.test_cfg.rcnn.score_thr == 0.5
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (8, 8)
    assert cfg.max_image_pixels == 100

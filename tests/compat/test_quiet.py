"""What is listed is silenced in the block; everything else stays, and so does everything after it."""

from __future__ import annotations

import logging
import os
import sysconfig
import warnings
from pathlib import Path

import mmengine.logging
import pytest
from mmengine.logging import MMLogger
from mmengine.utils.dl_utils import collect_env

from swinv2_dense.compat.quiet import quiet_libraries


def test_debugging_output_that_names_no_logger_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_libraries():
        mmengine.logging.print_log("Could not import OneDL", level=logging.DEBUG)
        mmengine.logging.print_log("a result")
    mmengine.logging.print_log("afterwards", level=logging.DEBUG)
    assert capsys.readouterr().out == "a result\nafterwards\n"


def test_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    logger = MMLogger.get_current_instance()
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        with quiet_libraries():
            logger.warning("Line NMS is not compiled. Most likely ...")
            logger.warning("something else")
        logger.warning("Line NMS is not compiled. Most likely ...")
    finally:
        logger.removeHandler(handler)
    assert seen == ["something else", "Line NMS is not compiled. Most likely ..."]


def test_listed_warnings_of_the_library_alone() -> None:
    def warn(module: str) -> None:
        warnings.warn_explicit("faster_coco_eval is not installed, ...", UserWarning, "x.py", 1, module=module)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with quiet_libraries():
            warn("mmdet.evaluation.metrics.faster_coco_metric")
            warn("mine")
        assert len(seen) == 1


def test_it_decorates_a_function_that_may_run_twice() -> None:
    original = mmengine.logging.print_log

    @quiet_libraries()
    def changed() -> bool:
        return mmengine.logging.print_log is not original

    assert changed()
    assert changed()
    assert mmengine.logging.print_log is original


def test_pycocotools_reads_a_file_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="needs the det extra").COCO
    path = tmp_path / "empty.json"
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    with quiet_libraries(), quiet_libraries():
        coco(str(path))
        print("creating index...", "of mine")
        print("index created!")  # of this module, not of pycocotools
    assert capsys.readouterr().out == "creating index... of mine\nindex created!\n"
    coco(str(path))
    assert "creating index..." in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="asks a Unix shell")
@pytest.mark.parametrize("compiler", ["gcc -pthread", "/opt/none/clang", "no-such-compiler"])
def test_a_compiler_that_is_not_there_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str], compiler: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sysconfig.get_config_vars(), "CC", compiler)
    with quiet_libraries(), quiet_libraries():
        assert collect_env()["GCC"] == "n/a"
    assert capfd.readouterr().err == ""
    assert sysconfig.get_config_var("CC") == compiler
    assert collect_env()["GCC"] == "n/a"
    assert "not found" in capfd.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="asks a Unix shell")
def test_a_compiler_that_is_there_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cc").write_text("#!/bin/sh\necho version 7\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sysconfig.get_config_vars(), "CC", "cc -pthread")
    with quiet_libraries():
        assert collect_env()["GCC"] == "version 7"

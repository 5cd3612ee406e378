"""The screen shows steps and progress; what libraries print goes to the log file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

from swinv2_dense.demo.console import DemoConsole


def test_libraries_are_heard_in_the_log_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = DemoConsole(tmp_path / "demo.log", steps=1)
    with console.step("Make tea"):
        print("kettle on")
        print("steam", file=sys.stderr)
        console.say("it is [hot]")
    print("afterwards")
    screen = capsys.readouterr()
    assert screen.err == ""
    lines = [line.strip() for line in screen.out.splitlines()]
    assert lines[:2] == ["1/1  Make tea", "it is [hot]"]
    assert lines[-1] == "afterwards"
    assert (tmp_path / "demo.log").read_text() == "kettle on\nsteam\n"


def test_a_logger_that_was_there_before_writes_into_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    existed = MMLogger.check_instance_created("mmengine")
    logger = MMLogger.get_instance("mmengine")  # as importing mmdet makes it
    screen = logging.StreamHandler(sys.stdout)
    logger.addHandler(screen)
    try:
        console = DemoConsole(tmp_path / "demo.log", steps=1)
        with console.step("Make tea"):
            logger.warning("kettle on")
        assert "kettle on" not in capsys.readouterr().out
        assert "kettle on" in (tmp_path / "demo.log").read_text()
    finally:
        logger.removeHandler(screen)
        if not existed:
            MMLogger._instance_dict.pop("mmengine")


def test_progress_without_a_terminal_is_a_line_every_tenth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = DemoConsole(tmp_path / "demo.log", steps=1)
    with console.progress(50, "cups") as advance:
        for cup in range(1, 51):
            advance(cup, f"sugar {cup}")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [line.split()[0] for line in lines] == [f"{cup}/50" for cup in range(5, 51, 5)]
    assert lines[-1].endswith("sugar 50")


def test_a_mistake_inside_a_step_reaches_the_caller(tmp_path: Path) -> None:
    console = DemoConsole(tmp_path / "demo.log", steps=1)
    with pytest.raises(ValueError, match="spilt"), console.step("Make tea"):
        raise ValueError("spilt")
    assert sys.stdout is not console._log

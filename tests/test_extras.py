"""Every extra that a message names is one of the package's."""

from __future__ import annotations

import configparser
from pathlib import Path

from swinv2_dense.extras import EXTRAS, missing

ROOT = Path(__file__).parents[1]


def test_the_extras_exist() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert set(EXTRAS.values()) <= set(setup["options.extras_require"])


def test_the_line_about_a_missing_library() -> None:
    line = missing("the demo", ModuleNotFoundError("No module named 'mmdet'", name="mmdet"), "det")
    assert line.startswith("the demo needs mmdet, which does not import")
    assert "pip install 'swinv2_dense[det]'" in line


def test_the_line_about_mmaction_says_what_pip_cannot_do_on_arm() -> None:
    line = missing("this config", ModuleNotFoundError("No module named 'mmaction'", name="mmaction"), "video")
    (pinned,) = [
        row for row in (ROOT / "requirements/video.txt").read_text().splitlines() if row.startswith("mmaction2")
    ]
    assert f"pip install --no-deps {pinned.partition(';')[0]})" in line
    assert "platform_machine" in pinned

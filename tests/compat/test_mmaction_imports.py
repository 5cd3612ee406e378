"""A config that names the module in ``custom_imports`` works with mmengine alone, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("av", reason="needs the video extra")

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import sys
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
cfg = Config.fromfile(sys.argv[1])
init_default_scope("mmaction")
model = MODELS.build(cfg.model)
print(type(model).__module__, type(model.backbone).__name__)
"""


def test_the_docs_config_builds_in_a_fresh_process(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "video.md").read_text(), re.DOTALL)
    config = tmp_path / "own.py"
    config.write_text(example)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(config)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "mmaction.models.recognizers.recognizer3d VideoSwinTransformerV2"


def test_without_mmaction_the_mistake_is_named(tmp_path: Path) -> None:
    (tmp_path / "mmaction.py").write_text("raise ImportError('no mmaction here')")
    done = subprocess.run(
        [sys.executable, "-c", "import swinv2_dense.compat.mmaction_imports"],
        env={"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=False,
    )
    line = done.stderr.splitlines()[-1]
    assert line.startswith("swinv2_dense.errors.UserError: this config needs ")
    assert "which does not import (no mmaction here): pip install 'swinv2_dense[video]'" in line

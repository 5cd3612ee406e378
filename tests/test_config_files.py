"""A config is found by its path or its name, whatever the folder; an unknown name is answered with the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from swinv2_dense.config_files import CONFIGS, config_names, find_config
from swinv2_dense.errors import UserError


@pytest.mark.parametrize(
    "name",
    ["htc_swinv2_t", "coco/htc_swinv2_t", "coco/htc_swinv2_t.py", "configs/coco/htc_swinv2_t.py", "htc_swinv2_t.py"],
)
def test_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == CONFIGS / "coco" / "htc_swinv2_t.py"


def test_a_file_of_that_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "htc_swinv2_t.py"
    own.touch()
    assert find_config("htc_swinv2_t.py").resolve() == own
    assert find_config(str(own)) == own
    assert find_config("htc_swinv2_t") == CONFIGS / "coco" / "htc_swinv2_t.py"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("htc_swinv2_tt", ["no config 'htc_swinv2_tt'", "did you mean 'htc_swinv2_t'?"]),
        ("coco/hct_swinv2_b", ["did you mean 'coco/htc_swinv2_b'?"]),
        ("mine/gone.py", ["config file mine/gone.py does not exist", "swinv2 models"]),
        ("mask2former_swinv2_b", ["ade20k/mask2former_swinv2_b or coco/mask2former_swinv2_b"]),
        ("_base_/default_runtime", ["does not exist"]),
        ("zzz", ["no config 'zzz'", "swinv2 models"]),
    ],
)
def test_mistakes(name: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as mistake:
        find_config(name)
    for part in parts:
        assert part in str(mistake.value)


def test_every_name_is_a_config_with_a_model() -> None:
    names = config_names()
    assert "demo/htc_swinv2_demo" in names
    assert not any("_base_" in name for name in names)
    assert "model" in Config.fromfile(names["coco/objects365/htc_boxonly_swinv2_g"])

"""Every config is listed with what its metafile says; names are found by a part or by wildcards."""

from __future__ import annotations

from pathlib import Path

import pytest

from swinv2_dense import model_index
from swinv2_dense.config_files import config_names
from swinv2_dense.errors import UserError
from swinv2_dense.model_index import models, read_metafile


def test_all_configs_are_listed_each_with_a_task() -> None:
    listed = models()
    assert [model.name for model in listed] == list(config_names())
    assert [model.name for model in listed if not model.task] == []


def test_what_the_metafile_says() -> None:
    (giant,) = models("coco/htc_swinv2_g_test_w48")
    assert giant.scores == {"box AP": 61.9, "mask AP": 53.4}
    assert giant.parameters is not None
    assert 3.0e9 < giant.parameters < 3.1e9
    (demo,) = models("htc_swinv2_demo")
    assert (demo.parameters, demo.flops, demo.scores) == (None, None, {})


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("UPERNET_swinv2_b", ["ade20k/upernet_swinv2_b_w16", "ade20k/upernet_swinv2_b_w40"]),
        ("htc_swinv2_[ts]", ["coco/htc_swinv2_s", "coco/htc_swinv2_t"]),
        ("ade20k/mask2*", ["ade20k/mask2former_swinv2_b", "ade20k/mask2former_swinv2_l"]),
        ("resnet", []),
    ],
)
def test_patterns(pattern: str, expected: list[str]) -> None:
    assert [model.name for model in models(pattern)] == expected


def test_metafile_mistakes(tmp_path: Path) -> None:
    for text in ("Models: [", "Models: 3"):
        path = tmp_path / "metafile.yml"
        path.write_text(text)
        with pytest.raises(UserError, match=r"metafile\.yml"):
            read_metafile(path)


def test_another_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "configs"
    monkeypatch.setattr(model_index, "CONFIGS", folder)
    monkeypatch.setattr(model_index, "config_names", lambda: {"new/a": folder / "new" / "a.py"})
    (folder / "new").mkdir(parents=True)
    (folder / "new" / "metafile.yml").write_text(
        "Models:\n- {Name: a, Config: configs/new/a.py, Metadata: {Parameters: 7}, Results: null}\n"
    )
    (model,) = models()
    assert (model.parameters, model.flops, model.scores, model.task) == (7, None, {}, "")

"""A config in a checkpoint is read as data: what mmengine writes comes back, and no code runs, however it is hidden."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from swinv2_dense import Predictor
from swinv2_dense.config_files import config_names, find_config
from swinv2_dense.errors import UserError
from swinv2_dense.inference.stored_config import check_types, config_of, import_named
from tests.inference.conftest import Run


@pytest.mark.parametrize("name", ["coco/htc_swinv2_t", "ade20k/upernet_swinv2_t", "kinetics400/swinv2_t_256"])
def test_what_mmengine_writes_comes_back(name: str) -> None:
    cfg = Config.fromfile(config_names()[name])
    assert config_of(cfg.pretty_text, "x.pth") == cfg.to_dict()


def test_values() -> None:
    text = "a = dict(b=[1, -2.5, (3, None)], c={'d-e': {1, 2}}, f=dict([('g', True)]))\nh = inf\n"
    assert config_of(text, "x") == {
        "a": {"b": [1, -2.5, (3, None)], "c": {"d-e": {1, 2}}, "f": {"g": True}},
        "h": float("inf"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "a = __import__('os').system('true')",
        "a = open('x')",
        "a = [x for x in (1,)]",
        "a = (lambda: 1)()",
        "a = dict(**b)",
        "a = 'x'.join",
        "a = f'{1}'",
        "a.b = 1",
        "a, b = 1, 2",
        "a = " + "[" * 5000,
        "a = \x00",
    ],
)
def test_code_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"the config in x\.pth is no list of values"):
        config_of(text, "x.pth")


def test_only_the_libraries_modules_are_imported() -> None:
    import_named({"custom_imports": {"imports": ["swinv2_dense"]}})
    import_named({})
    for name in ("os", "mmdet_evil", "evil.mmdet"):
        with pytest.raises(UserError, match=f"imports {name}, which is code of its own"):
            import_named({"custom_imports": {"imports": [name]}})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "os.system", "command": "true"},
        {"type": "subprocess.run"},
        {"type": "mmengine.load", "file": "x.pkl"},
        {"type": "mmengine.config.Config.fromfile"},
        [{"nms": {"type": "__import__('os').abort()"}}],
        {"a": {"b": ({"type": "print"},)}},
    ],
)
def test_only_registered_types_are_built(part: object) -> None:
    pytest.importorskip("mmdet", reason="needs the det extra")
    with pytest.raises(UserError, match="which no library has registered"):
        check_types(part, "mmdet", "x.pth")


def test_a_checkpoint_with_code_in_its_config(run_of: Callable[[str], Run], tmp_path: Path) -> None:
    content = torch.load(run_of("detection").checkpoint, weights_only=True)
    ran = tmp_path / "ran"
    for text in (
        f"{content['meta']['cfg']}\nx = open({str(ran)!r}, 'w')\n",
        content["meta"]["cfg"].replace("type='HybridTaskCascade'", f"type='pathlib.Path.touch', self={str(ran)!r}"),
        content["meta"]["cfg"].replace("type='nms'", f"type='open({str(ran)!r}, chr(119))'"),
    ):
        assert text != content["meta"]["cfg"]
        path = tmp_path / "evil.pth"
        torch.save({**content, "meta": {**content["meta"], "cfg": text}}, path)
        with pytest.raises(UserError, match=r"evil\.pth"):
            Predictor(path, device="cpu")
        assert not ran.exists()


def test_every_part_of_our_classifiers_may_be_named() -> None:
    pytest.importorskip("mmpretrain", reason="classification needs the cls extra")
    for name in [name for name in config_names() if name.startswith("imagenet/")]:
        check_types(Config.fromfile(find_config(name)).model.to_dict(), "mmpretrain", "a.pth")
    for kind in ("TruncNormal", "Constant", "Kaiming"):
        check_types({"type": "ImageClassifier", "init_cfg": {"type": kind}}, "mmpretrain", "a.pth")

"""Models by name; importing what lists them imports no library."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import swinv2_dense
from swinv2_dense import get_model, list_models
from swinv2_dense.errors import UserError
from swinv2_dense.inference.model_loading import load_model
from tests.inference.conftest import Run


def test_list_models() -> None:
    assert "coco/htc_swinv2_t" in list_models()
    assert list_models("*_swinv2_demo") == [name for name in list_models("demo") if name.endswith("_swinv2_demo")]


def test_the_top_of_the_package_is_lazy() -> None:
    code = (
        "import sys, swinv2_dense\n"
        "from swinv2_dense import Predictor, get_model, inference_model, list_models\n"
        "list_models('htc')\n"
        "print(sorted({'torch', 'mmengine', 'mmdet', 'mmseg', 'mmaction', 'mmpretrain'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(swinv2_dense.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
    assert "Predictor" in dir(swinv2_dense)
    with pytest.raises(AttributeError, match="has no attribute 'Predicto'"):
        swinv2_dense.Predicto  # noqa: B018


def test_get_model(run_of: Callable[[str], Run]) -> None:
    model = get_model(run_of("segmentation").config, device="cpu")
    assert not model.training
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in model.modules())
    with pytest.raises(UserError, match=r"swinv2 models|did you mean"):
        get_model("htc_swinv2_nothing")
    with pytest.raises(UserError, match="a config is a name, a path or an mmengine Config, not None"):
        get_model(None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a pattern of names is text"):
        list_models(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("pretrained", ["", {}, 1])
def test_weights_that_are_none_are_no_wish_for_none(pretrained: Any, run_of: Callable[[str], Run]) -> None:
    """Such as of a variable that is empty: the model would stay untrained without a word."""
    with pytest.raises(UserError, match=r"is empty text|holds no weights|cannot read weights from a int"):
        get_model(run_of("segmentation").config, pretrained, device="cpu")


def test_get_model_takes_a_state_dict(run_of: Callable[[str], Run]) -> None:
    run = run_of("segmentation")
    wanted = torch.load(run.weights)["state_dict"]
    found = get_model(run.config, wanted, device="cpu").state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_a_config_without_a_model(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("default_scope = 'mmdet'")
    with pytest.raises(UserError, match="predicting needs a model of"):
        get_model(path)
    path.write_text("x = 1 / 0")
    with pytest.raises(UserError, match=r"empty\.py cannot be read: ZeroDivisionError"):
        get_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(model=5), "model=5: it must be a dict"),
        (dict(model=dict(type="EncoderDecoder", backbone="x")), "model.backbone='x': it must be a dict"),
        (dict(test_dataloader=4), "test_dataloader=4: it must be a dict"),
        (dict(test_dataloader=dict(dataset=[])), r"test_dataloader.dataset=\[\]: it must be a dict"),
        (dict(model=dict(type="EncoderDecoder")), "cannot be built .*decode_head|cannot be built .*backbone"),
    ],
)
def test_wrong_entries_of_a_stored_config(tmp_path: Path, change: dict[str, object], message: str) -> None:
    entries: dict[str, object] = {
        "default_scope": "mmseg",
        "model": dict(type="EncoderDecoder"),
        "test_dataloader": dict(dataset=dict(pipeline=[dict(type="LoadImageFromFile")])),
    }
    text = "".join(f"{key} = {value!r}\n" for key, value in {**entries, **change}.items())
    torch.save({"meta": {"cfg": text}, "state_dict": {}}, tmp_path / "run.pth")
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / "run.pth", device="cpu")

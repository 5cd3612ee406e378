"""The module holds every operator that mmcv asks for; those that it does not compute name themselves."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

import swinv2_dense  # noqa: F401  offers the operators

mmcv = pytest.importorskip("mmcv", reason="needs mmcv")

from mmcv.ops import CARAFENaive, box_iou_rotated, get_compiler_version, get_compiling_cuda_version

from swinv2_dense.compat import mmcv_ops
from swinv2_dense.compat.mmcv_ops.extension import OPERATORS, fill
from swinv2_dense.errors import UserError


def test_every_name_that_mmcv_loads_is_there() -> None:
    sources = "\n".join(path.read_text() for path in Path(mmcv.__path__[0], "ops").glob("*.py"))
    names = {
        name
        for listed in re.findall(r"load_ext\(\s*'_ext',\s*\[(.*?)\]", sources, re.S)
        for name in re.findall(r"'(\w+)'", listed)
    }
    assert names > set(OPERATORS)
    extension = ModuleType("mmcv._ext")
    fill(extension)
    assert all(callable(getattr(extension, name)) for name in names)
    assert not hasattr(extension, "__path__")


def test_an_operator_that_needs_a_compiled_mmcv_names_itself_in_one_line() -> None:
    with pytest.raises(UserError, match=r"mmcv's operator box_iou_rotated is not among .* onedl-mmcv") as caught:
        box_iou_rotated(torch.ones(1, 5), torch.ones(1, 5))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="operator carafe_naive_forward"):
        CARAFENaive(3, 1, 2)(torch.ones(1, 4, 4, 4), torch.ones(1, 9, 8, 8))


def test_the_log_of_a_run_says_whose_operators_they_are() -> None:
    assert "torchvision" in get_compiler_version()
    assert get_compiling_cuda_version() == (torch.version.cuda or "not available")


def test_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def of(*files: str) -> str:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).touch()
        spec = type("Spec", (), {"submodule_search_locations": [str(root / "mmcv")]})
        found = {"mmcv": spec if files else None, "torchvision": object() if torchvision else None}
        monkeypatch.setattr(mmcv_ops.importlib.util, "find_spec", found.__getitem__)
        return mmcv_ops.state()

    torchvision = True
    assert of() == "absent"
    assert of("mmcv/__init__.py") == "absent"
    assert of("mmcv/ops/__init__.py") == "torchvision"
    assert of("mmcv/ops/__init__.py", "mmcv/_ext.py") == "compiled"
    torchvision = False
    assert of("mmcv/ops/__init__.py") == "absent"

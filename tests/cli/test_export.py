"""``swinv2 export``: its options, and the way from a checkpoint to a file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

import swinv2_dense.export
from swinv2_dense.cli import export
from swinv2_dense.export import Deviation, ExportReport


def test_a_checkpoint_becomes_a_file_beside_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loading = pytest.importorskip("swinv2_dense.inference.model_loading")
    model = nn.ModuleDict({"backbone": nn.Identity()})
    calls: list[Any] = []

    def write(model: Any, path: Path, **options: Any) -> ExportReport:
        calls.append((model, str(path), options))
        return ExportReport(Path(path), {}, 2**20, [Deviation((2, 3, 64, 64), 1e-6)])

    loaded = SimpleNamespace(model=model, classes=["cat"], palette=[(1, 2, 3)])
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: loaded)
    monkeypatch.setattr(swinv2_dense.export, "export", write)
    export.main(["runs/last.pth", "--to", "pt2", "--size", "64", "48"])
    export.main(["runs/last.pth", "--backbone", "--half", "--out", "b.onnx"])
    notes = {"metadata": {"classes": ["cat"], "palette": [[1, 2, 3]]}}
    assert calls == [
        (model, "runs/last.pt2", {"size": [64, 48], "half": False, **notes}),
        (model["backbone"], "b.onnx", {"size": None, "half": True, **notes}),
    ]
    assert "wrote b.onnx (1.0 MiB)" in capsys.readouterr().out


def test_options_that_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        export.parse_args(["last.pth", "--dynamic", "--size", "64", "64"])
    assert "not allowed with" in capsys.readouterr().err

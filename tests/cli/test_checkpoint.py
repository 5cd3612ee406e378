"""tools/checkpoint.py: what it prints, and one line for what it cannot do."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from swinv2_dense.cli.common import run
from tests.checkpoint.makers import microsoft, mmpretrain, save, timm
from tests.tiny import tool as commands


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return commands("checkpoint")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_inspect_tells_what_is_in_a_file(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(mmpretrain(size=128, window=8, pretrained=[6, 6, 6, 3]), "mmpretrain", tmp_path)
    tool.main(["inspect", str(file)])
    said = capsys.readouterr().out
    for part in (
        "mmpretrain, under 'backbone.'",
        "embed_dims 32, depths (2, 2, 2, 2), num_heads (1, 2, 4, 8)",
        "none of the paper's",
        "5 classes",
        "96x96 pixels",
        "pre-trained 3x3, used with 4x4",
        "its coordinate tables",
    ):
        assert part in said, part


def test_inspect_names_the_papers_architectures(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from timm.models.swin_transformer_v2 import swinv2_tiny_window8_256

    model = swinv2_tiny_window8_256()
    torch.save(model.state_dict(), tmp_path / "swinv2_tiny_window8_256.pth")
    tool.main(["inspect", str(tmp_path / "swinv2_tiny_window8_256.pth")])
    said = capsys.readouterr().out
    assert "tiny" in said.split("publisher")[0].replace("swinv2_tiny", "")
    assert "256x256 pixels" in said
    assert f"{sum(p.numel() for p in model.parameters()) - 769_000:,}" in said


def test_inspect_says_so_where_nothing_tells_the_windows(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool.main(["inspect", str(save(timm(), "timm", tmp_path))])
    assert "unknown: no coordinate tables" in capsys.readouterr().out


def test_convert_writes_and_says_what_it_left_out(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = timm()
    published.state_dict["neck.weight"] = torch.ones(1)
    file, out = save(published, "timm", tmp_path), tmp_path / "out.pth"
    windows = ["--window", "4", "--image-size", "64", "--pretrained-window", "3", "3", "2", "2"]
    tool.main(["convert", str(file), str(out), "--to", "microsoft", *windows])
    said = capsys.readouterr().out
    assert f"wrote {out}" in said
    assert "left out 1 tensors" in said
    expected = microsoft().state_dict
    assert set(torch.load(out, weights_only=True)["model"]) == set(expected)


def test_a_mistake_is_one_line_and_status_1(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(lambda: tool.main(["inspect", str(tmp_path / "gone.pth")])) == 1
    said = capsys.readouterr().err
    assert said == f"error: checkpoint {tmp_path / 'gone.pth'} does not exist\n"


def test_names_are_shown_as_they_are_and_control_nothing(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "[red]a[blue]"
    folder.mkdir()
    content = {**microsoft().state_dict, "layers.0.[bold]\x1b[31m": torch.ones(1), "[/]other": torch.ones(1)}
    torch.save({"model": content}, folder / "\x1b[2Jx.pth")
    tool.main(["inspect", str(folder / "\x1b[2Jx.pth")])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red]a[blue]" in out
    assert "layers.0.[bold]\\x1b[31m" in out
    tool.main(["convert", str(folder / "\x1b[2Jx.pth"), str(folder / "\x1b.pth"), "--to", "timm"])
    assert "\x1b" not in capsys.readouterr().out

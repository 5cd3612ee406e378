"""The miniature of figure 2: what is seen are the blocks' outputs, runs resume, the table's numbers are the runs'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from swinv2_dense.cli import amplitude_table as program
from swinv2_dense.errors import UserError
from swinv2_dense.measure.amplitude_table import NORMS, Protocol, run, table
from swinv2_dense.measure.pre_norm import PreNormBlock
from swinv2_dense.measure.small_classifier import normalised
from tests.measure.test_small_classifier import coloured, folder

SMALL = Protocol(8, 32, epochs=1)


def test_new_blocks_add_nothing_behind_closing_norms_and_something_behind_open_ones() -> None:
    found = {norm: run(SMALL, norm, 3, 0, coloured(32), coloured(10), lambda _: None) for norm in NORMS}
    for norm, done in found.items():
        assert len(done["new"]) == len(done["trained"]) == 6
        assert done["new"] != done["trained"], norm
    third = found["post"]["new"][2:5]
    assert third == pytest.approx([third[0]] * 3)  # the branches begin at zero
    third = found["pre"]["new"][2:5]
    assert third[0] < third[1] < third[2]


def test_the_variance_is_that_of_the_channels_behind_the_block() -> None:
    torch.manual_seed(0)
    model = SMALL.model("pre", 2, 2).eval()
    assert all(type(block) is PreNormBlock for stage in model.backbone.layers for block in stage.blocks)
    images = coloured(10)
    with torch.no_grad():
        tokens = model.backbone.layers[0].blocks[0](model.backbone.patch_embed(normalised(images.pixels)))
    wanted = tokens.flatten(0, -2).double().var(0, correction=0).mean().item()
    found = run(SMALL, "pre", 2, 0, images, images, lambda _: None)
    assert found["new"][0] == pytest.approx(wanted, rel=1e-4)


def _run(norm: str, seed: int, trained: list[float]) -> dict[str, Any]:
    return {"norm": norm, "blocks": 2, "seed": seed, "new": [9, 9, 1, 1, 9], "trained": trained, "top1": 50 + seed}


def test_the_table_has_means_of_the_third_stage() -> None:
    lines = table([_run("pre", 0, [9, 9, 1, 4, 9]), _run("pre", 1, [9, 9, 2, 4, 9])]).splitlines()
    assert lines[2:] == ["| 2 | pre-norm | 2 | 1 | 1 | 1.0x | 1.5 | 4 | 3.0x | 50.5 |"]


def test_the_command_writes_its_files_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        folder(tmp_path / "data" / split)
    command = [str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--depths", "1", "2", "--width", "8"]
    program.main([*command, "--side", "32", "--epochs", "1"])
    assert capsys.readouterr().out.count("seed 0:") == 4
    program.main([*command, "--side", "32", "--epochs", "1"])
    assert "seed 0:" not in capsys.readouterr().out
    assert (tmp_path / "out" / "table.png").stat().st_size > 1000
    assert len(json.loads((tmp_path / "out" / "raw.json").read_text())) == 4
    with pytest.raises(UserError, match="name another --out"):
        program.main([*command, "--side", "32", "--epochs", "2"])


@pytest.mark.parametrize(("option", "message"), [(("--side", "50"), "--side 50"), (("--depths", "0"), "--depths 0")])
def test_mistakes_are_named(option: tuple[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        program.main([str(tmp_path), *option])

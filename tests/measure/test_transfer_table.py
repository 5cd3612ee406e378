"""The miniature of table 1: windows grow with the image, runs resume, the table's numbers are the runs'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swinv2_dense.cli import transfer_table as program
from swinv2_dense.errors import UserError
from swinv2_dense.measure import transfer_table
from swinv2_dense.measure.transfer_table import BIASES, Protocol, run, table
from tests.measure.test_small_classifier import coloured, folder

SMALL = Protocol(8, (1, 1), (32, 64), (64,), epochs=1, fine_tune_epochs=0.5)


def test_windows_grow_with_the_image_and_end_at_the_map() -> None:
    model = Protocol(32, (1, 1, 1, 1)).model("table", 64, 10)
    assert model.backbone.window_size == ((4, 4), (4, 4), (4, 4), (2, 2))
    assert model.backbone.num_heads == (1, 2, 4, 8)
    model = Protocol(32, (1, 1, 1, 1)).model("table", 192, 10)
    assert model.backbone.window_size == ((12, 12), (12, 12), (12, 12), (6, 6))
    assert model.backbone.layers[0].blocks[0].attn.cpb_mlp.weight.shape == (1, 23, 23)


@pytest.mark.parametrize("bias", BIASES)
def test_a_run_tests_every_side_and_repeats_exactly(bias: str) -> None:
    first, second = (run(SMALL, bias, 3, coloured(32, 64), coloured(10, 64), lambda _: None) for _ in range(2))
    assert set(first["transferred"]) == {32, 64} and set(first["fine_tuned"]) == {64}
    assert all(0 <= v <= 100 for v in (*first["transferred"].values(), *first["fine_tuned"].values()))
    assert {k: v for k, v in first.items() if k != "seconds"} == {k: v for k, v in second.items() if k != "seconds"}


def _run(bias: str, seed: int, at_32: float, at_64: float) -> dict[str, Any]:
    return {"bias": bias, "seed": seed, "transferred": {32: at_32, 64: at_64}, "fine_tuned": {64: at_64 + 1}}


def test_the_table_has_means_and_sample_deviations() -> None:
    lines = table([_run("log_cpb", 0, 50, 40), _run("log_cpb", 1, 54, 46)], SMALL).splitlines()
    assert lines[0] == "| bias | seeds | | 32² W2 | 64² W4 |"
    assert lines[2] == "| log CPB | 2 | as trained | 52.0 ± 2.8 | 43.0 ± 4.2 |"
    assert lines[3] == "| | | change | +0.0 ± 0.0 | -9.0 ± 1.4 |"
    assert lines[4] == "| | | fine-tuned |  | 44.0 ± 4.2 |"


def test_the_command_writes_its_files_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    for split in ("train", "val"):
        folder(data / split)
    options = ["--epochs", "1", "--sides", "32", "64", "--fine-tuned", "--width", "8", "--depths", "1", "1"]
    command = [str(data), "--out", str(tmp_path / "out"), "--seeds", "0", *options]
    calls = []

    def counted(*args: Any) -> dict[str, Any]:
        calls.append(args[1])
        return run(*args)

    monkeypatch.setattr(transfer_table, "run", counted)
    program.main(command)
    assert calls == list(BIASES)
    assert (tmp_path / "out" / "table.png").stat().st_size > 1000
    runs = json.loads((tmp_path / "out" / "raw.json").read_text())
    assert [r["bias"] for r in runs] == list(BIASES)
    (tmp_path / "out" / "runs" / "log_cpb_seed0.json").unlink()
    program.main(command)
    assert calls == [*BIASES, "log_cpb"]
    with pytest.raises(UserError, match=r"was run with epochs=1.0, not 2.0: name another --out"):
        program.main([*command, "--epochs", "2"])


@pytest.mark.parametrize(("sides", "fine_tuned", "message"), [((50,), (), "multiples of 32"), ((64,), (96,), "96")])
def test_sides_that_do_not_fit_are_named(sides: tuple[int, ...], fine_tuned: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Protocol(sides=sides, fine_tuned=fine_tuned)

"""SimMIM in miniature: the shipped configs made small, shares of the labels, starts that differ in what they load."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("mmpretrain", reason="needs the cls extra")

from swinv2_dense.cli import simmim_table as program
from swinv2_dense.errors import UserError
from swinv2_dense.measure import simmim_table
from swinv2_dense.measure.simmim_table import STARTS, Data, Protocol, fine_tune, pretrain, run_all, table
from tests.measure.test_small_classifier import folder

SMALL = Protocol(8, (1, 1), 32, block=8, norm_target=5, pretrain_epochs=2, pretrain_batch=8, iterations=2)


@pytest.fixture
def data(tmp_path: Path, clean_run: None) -> Data:
    for split, count in (("train", 20), ("val", 6)):
        folder(tmp_path / "data" / split, count)
    return Data.read(tmp_path / "data")


def weights(path: Path) -> dict[str, torch.Tensor]:
    content: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return {name: value for name, value in content.items() if name.startswith("backbone.")}


def test_a_share_has_the_same_part_of_every_class(data: Data) -> None:
    assert data.classes == ("blue", "red") and data.train == (10, 10) and data.val == (3, 3)
    some = data.share(0.3, seed=1)
    assert len(set(some)) == 6 and sum(i < 10 for i in some) == 3
    assert some == data.share(0.3, seed=1) != data.share(0.3, seed=2)
    assert data.share(1.0, seed=0) == list(range(20))
    assert len(data.share(0.01, seed=0)) == 2


def test_only_one_start_has_the_pretrained_weights_and_both_are_tested(data: Data, tmp_path: Path) -> None:
    found = pretrain(SMALL, data, tmp_path / "pre")
    assert len(found["losses"]) == 4 and all(0 < loss < 5 for loss in found["losses"])
    still = replace(SMALL, lr=1e-12)
    before = weights(found["checkpoint"])
    # what begins at random in both: norms and biases begin alike
    name = "backbone.layers.0.blocks.0.mlp.fc1.weight"
    equal = {}
    for start in STARTS:
        done = fine_tune(still, start, 0.3, 0, data, found["checkpoint"], tmp_path / start)
        assert (done["start"], done["labels"], done["share"]) == (start, 6, 0.3)
        assert 0 <= done["top1"] <= 100 and done["last_loss"] > 0
        equal[start] = torch.allclose(weights(tmp_path / start / "iter_2.pth")[name], before[name], atol=1e-6)
    assert equal == {"scratch": False, "simmim": True}


def test_an_interrupted_pretraining_resumes(data: Data, tmp_path: Path) -> None:
    pretrain(SMALL, data, tmp_path / "pre")
    first = (tmp_path / "pre" / "epoch_1.pth").read_bytes()
    (tmp_path / "pre" / "epoch_2.pth").unlink()
    (tmp_path / "pre" / "last_checkpoint").write_text(str(tmp_path / "pre" / "epoch_1.pth"))
    found = pretrain(SMALL, data, tmp_path / "pre")
    assert Path(found["checkpoint"]).is_file()
    assert (tmp_path / "pre" / "epoch_1.pth").read_bytes() == first
    assert len(found["losses"]) == 4


def test_runs_are_kept_and_other_fine_tunings_need_no_new_pretraining(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def pretrained(*_: Any) -> dict[str, Any]:
        calls.append("pretraining")
        return {"checkpoint": "x.pth", "losses": [2.0, 1.0]}

    def tuned(_: Protocol, start: str, share: float, seed: int, *rest: Any) -> dict[str, Any]:
        calls.append(f"{start} {share} {seed}")
        return {"start": start, "share": share, "labels": 4, "seed": seed, "top1": 50.0}

    monkeypatch.setattr(simmim_table, "pretrain", pretrained)
    monkeypatch.setattr(simmim_table, "fine_tune", tuned)
    runs = run_all(SMALL, [0.5], [0, 1], data, tmp_path, lambda _: None)
    assert calls == ["pretraining", "scratch 0.5 0", "simmim 0.5 0", "scratch 0.5 1", "simmim 0.5 1"]
    assert run_all(SMALL, [0.5], [0, 1], data, tmp_path, lambda _: None) == runs and len(calls) == 5
    with pytest.raises(UserError, match=r"scratch_0\.5_seed0\.json was run with iterations=2, not 3"):
        run_all(replace(SMALL, iterations=3), [0.5], [0], data, tmp_path, lambda _: None)
    with pytest.raises(UserError, match=r"pretraining\.json was run with block=8, not 16"):
        run_all(replace(SMALL, block=16), [0.5], [0], data, tmp_path, lambda _: None)


def test_the_table_pairs_the_seeds() -> None:
    runs = [
        {"start": start, "share": share, "labels": int(300 * share), "seed": seed, "top1": top1}
        for start, share, seed, top1 in [
            *(("scratch", 0.1, 0, 20.0), ("simmim", 0.1, 0, 30.0), ("scratch", 0.1, 1, 24.0), ("simmim", 0.1, 1, 36.0)),
            *(("scratch", 1.0, 0, 40.0), ("simmim", 1.0, 0, 39.0), ("scratch", 1.0, 1, 50.0)),
        ]
    ]
    assert table(runs).splitlines()[2:] == [
        "| 10% (30) | 2 | 22.0 ± 2.8 | 33.0 ± 4.2 | +11.0 ± 1.4 |",
        "| 100% (300) | 1 | 45.0 ± 7.1 | 39.0 ± 0.0 | -1.0 ± 0.0 |",
    ]


def test_the_command_writes_its_files(data: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--pretrain-epochs", "1", "--iterations", "2", "--side", "32", "--width", "8", "--depths", "1", "1"]
    program.main([str(data.root), "--out", str(tmp_path / "out"), "--shares", "0.5", "--seeds", "0", *options])
    printed = capsys.readouterr().out
    assert "| labels | seeds | from scratch | after SimMIM | change |" in printed and "| 50% (10) | 1 |" in printed
    assert (tmp_path / "out" / "table.png").stat().st_size > 1000
    assert [r["start"] for r in json.loads((tmp_path / "out" / "raw.json").read_text())] == list(STARTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shares", "10"], "--shares 10: give shares of the labels above 0 and up to 1"),
        (["--iterations", "1"], "--iterations 1"),
        (["--side", "50"], "--side 50: give a multiple of 32 pixels"),
        (["--side", "64"], "holds 0 class folders|does not exist"),
    ],
)
def test_mistakes_are_one_line(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        program.main([str(tmp_path / "none"), *options])


def test_other_classes_in_val_are_named(tmp_path: Path) -> None:
    folder(tmp_path / "train")
    folder(tmp_path / "val")
    (tmp_path / "val" / "red").rename(tmp_path / "val" / "green")
    with pytest.raises(UserError, match="train and val must have the same class folders; only one has green"):
        Data.read(tmp_path)

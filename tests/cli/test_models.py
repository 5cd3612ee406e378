"""The table of models, and what is said of a name that is none."""

from __future__ import annotations

import pytest

from swinv2_dense.cli.main import main


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "upernet_swinv2_t"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if "upernet_swinv2_t" in line]
    assert row.split() == ["ade20k/upernet_swinv2_t", "segmentation", "60", "M", "318", "G", "mIoU", "47.0"]
    assert "not reproduced" in lines[-1]


def test_names_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--names", "*_swinv2_demo"]) == 0
    assert "demo/htc_swinv2_demo\n" in capsys.readouterr().out


def test_no_such_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "htc_swinv2_tinny"]) == 1
    assert "no model is called 'htc_swinv2_tinny': did you mean 'htc_swinv2_" in capsys.readouterr().err

"""The word that was probably meant is named, and all words where none is near."""

from __future__ import annotations

from swinv2_dense.suggestions import did_you_mean, nearest


def test_nearest() -> None:
    assert nearest("trian", ["test", "train"]) == "train"
    assert nearest("xyz", ["test", "train"]) is None
    assert nearest("xyz", ["test", "train"], cutoff=0) is not None


def test_did_you_mean() -> None:
    assert did_you_mean("trian", ["test", "train"]) == "did you mean 'train'?"
    assert did_you_mean("xyz", ["train", "test"]) == "there are test, train"
    assert did_you_mean("xyz", ["train", "test"], otherwise="") == ""

"""The split keeps every class in training and comes out the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.samples import Sample, image_size, split_samples


def test_a_fifth_drawn_at_random_and_every_class_is_trained_on() -> None:
    samples = [Sample(Path(f"{n}.jpg"), ["common"] + (["rare"] if n == 7 else [])) for n in range(50)]
    for seed in range(20):
        splits = split_samples(samples, seed)
        assert (len(splits["train"]), len(splits["val"])) == (40, 10)
        assert any("rare" in sample.classes for sample in splits["train"])
        assert splits == split_samples(samples, seed)
    assert split_samples(samples, 0) != split_samples(samples, 1)


def test_few_samples() -> None:
    each = [Sample(Path(name), [name]) for name in "abc"]
    assert {k: len(v) for k, v in split_samples(each, 0).items()} == {"train": 2, "val": 1}
    with pytest.raises(UserError, match="1 samples cannot be split"):
        split_samples(each[:1], 0)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"a\.jpg is no image"):
        image_size(tmp_path / "a.jpg")

"""The table of objects and images per class."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from swinv2_dense.checks.annotations import Counts
from swinv2_dense.checks.summary import show_counts


@pytest.mark.parametrize("classes", [1, 25, 80])
def test_every_class_is_there_once(classes: int) -> None:
    out = io.StringIO()
    objects = {f"kind[{i}]": 1000 + i for i in range(classes)}
    counts = Counts(
        images=9, annotations=70000, crowds=3, empty=2, objects=objects, images_of=dict.fromkeys(objects, 7)
    )
    show_counts("train [bold]", counts, Console(file=out, width=160))
    text = out.getvalue()
    assert text.startswith("train [bold]: 9 images (2 without annotations), 70,000 annotations (3 crowds), ")
    assert f"{sum(objects.values()):,} objects of {classes} classes" in text
    for i in range(classes):
        assert text.count(f"kind[{i}] ") == 1
        assert f"{1000 + i:,}" in text
    assert len(text.splitlines()) < 35


def test_numbers_stay_readable_on_a_narrow_terminal() -> None:
    out = io.StringIO()
    objects = {f"a class with a long name {i}": 123456 for i in range(80)}
    counts = Counts(objects=objects, images_of=dict.fromkeys(objects, 65432))
    show_counts("train", counts, Console(file=out, width=80))
    assert out.getvalue().count("123,456") == 80
    assert out.getvalue().count("65,432") == 80


def test_any_name_can_be_printed() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    objects = {"a\ud800[/b]": 1, "\x1b[31mred": 2}
    show_counts("tr\ud800ain", Counts(objects=objects, images_of=objects), Console(file=out, width=80))
    out.flush()

"""Which drawings of tested samples are made, where they go, and what is shown of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from swinv2_dense.visualization.sample_drawings import SampleDrawingsHook


class Drawing(SampleDrawingsHook):
    def figures(self, dataset: Any, batch: Any, samples: Sequence[Any]) -> Iterator[Figure]:
        for sample in samples:
            self.drawn = [*getattr(self, "drawn", []), (dataset, batch, sample)]
            yield Figure(figsize=(2, 1), dpi=10)


@pytest.mark.parametrize(("options", "drawn"), [({}, 0), ({"draw": True}, 2)])
@pytest.mark.parametrize("show", [False, True])
def test_draws_where_asked_and_shows_where_asked(options: dict[str, bool], drawn: int, show: bool) -> None:
    windows: list[np.ndarray] = []
    runner: Any = SimpleNamespace(
        test_dataloader=SimpleNamespace(dataset="set"),
        visualizer=SimpleNamespace(show=lambda image, wait_time: windows.append(image)),
    )
    hook = Drawing(**options, show=show)
    hook.after_test_iter(runner, 0, "batch", ["a", "b"])
    hook.after_test_iter(runner, 1, "batch", None)
    assert getattr(hook, "drawn", []) == [("set", "batch", "a"), ("set", "batch", "b")][:drawn]
    assert [image.shape for image in windows] == [(10, 20, 3)] * (drawn if show else 0)


def test_a_path_is_in_the_folder_if_there_is_one() -> None:
    assert Drawing(test_out_dir="out").path("a/b.png") == Path("out/a/b.png")
    assert Drawing().path("b.png") is None

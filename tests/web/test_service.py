"""What the page is told equals what swinv2 predict finds; scores change without another prediction, windows with."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from swinv2_dense import Predictor
from swinv2_dense.errors import UserError
from swinv2_dense.web import service as module
from swinv2_dense.web.service import HEADERS, Answer, Service, Window, window_of
from tests.inference.conftest import Run

RunOf = Callable[[str], Run]


class Loads:
    """Makes predictors, and notes the windows and lowest scores that they were asked for."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.asked: list[tuple[Window, float]] = []

    def __call__(self, window: Window, score: float) -> Predictor:
        self.asked.append((window, score))
        return Predictor(self.run.checkpoint, device="cpu", window=window, score=score)


def served(run: Run, folder: Path, score: float = 0.0) -> tuple[Service, Loads]:
    loads = Loads(run)
    return Service(loads, None, score, folder), loads


def lines(answer: Answer) -> list[dict[str, Any]]:
    (path,) = [path for path in answer.files if path.name == "predictions.jsonl"]
    return [json.loads(line) for line in path.read_text().splitlines()]


def expected(result: Any, name: str) -> list[dict[str, Any]]:
    result.source = name
    return json.loads(json.dumps(result.to_dicts()))


@pytest.mark.parametrize("task", ["detection", "segmentation", "classification", "video"])
def test_an_answer_is_what_predict_finds(
    task: str, run_of: RunOf, folder: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = video if task == "video" else folder / "a.png"
    service, _ = served(run_of(task), tmp_path / "answers")
    result = Predictor(run_of(task).checkpoint, device="cpu", score=0.0)(source)
    # mmdet's visualizer varies a class's colour from mask to mask
    if task == "detection":
        monkeypatch.setattr("mmdet.visualization.local_visualizer.jitter_color", lambda colour: colour)
    answer = service.answer(str(source), 0.0)
    assert lines(answer) == expected(result, source.name)
    assert answer.summary == result.summary()
    result.save(tmp_path / "drawn.jpg")
    assert answer.drawing.read_bytes() == (tmp_path / "drawn.jpg").read_bytes()
    assert [row[0] for row in answer.rows] == result.names
    assert [row[1] for row in answer.rows] == pytest.approx(result.scores, abs=1e-4)
    assert {len(row) for row in answer.rows} == {len(HEADERS[task])}
    maps = [path for path in answer.files if path.suffix == ".png"]
    assert len(maps) == (task == "segmentation")
    for path in maps:
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), result.map)


def test_a_reconstruction_is_of_other_masks_each_time(run_of: RunOf, folder: Path, tmp_path: Path) -> None:
    service, _ = served(run_of("simmim"), tmp_path / "answers")
    drawings = [cv2.imread(str(service.answer(str(folder / "a.png"), 0.0).drawing)) for _ in range(4)]
    assert drawings[0].shape == (64, 192, 3)
    assert any(not np.array_equal(drawings[0], other) for other in drawings[1:])
    ((difference,),) = service.answer(str(folder / "a.png"), 0.0).rows
    assert 0 < float(difference) < 256


def test_another_score_is_no_other_prediction(
    run_of: RunOf, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = served(run_of("detection"), tmp_path / "answers")
    path = str(folder / "a.png")
    everything = service.answer(path, 0.0)
    monkeypatch.setattr(service.first, "stream", None)
    scores = [float(row[1]) for row in everything.rows]
    between = (scores[1] + scores[2]) / 2
    assert scores[1] > between > scores[2]
    few = service.answer(path, between)
    assert few.rows == everything.rows[:2]
    assert lines(few) == lines(everything)[:2]
    assert service.answer(path, 0.0).rows == everything.rows  # none is lost


def test_scores_below_the_lowest_are_not_kept(run_of: RunOf, folder: Path, tmp_path: Path) -> None:
    for score, lowest in [(0.3, module.LOWEST_SCORE), (0.01, 0.01)]:
        service, loads = served(run_of("detection"), tmp_path / "answers", score)
        assert loads.asked == [(None, lowest)]
        assert service.lowest == lowest


def test_windows(run_of: RunOf, folder: Path, tmp_path: Path) -> None:
    run, path = run_of("detection"), folder / "a.png"
    service, loads = served(run, tmp_path / "answers")
    assert service.window() == "4"
    assert "detection, 4 classes, window 4, on cpu" in service.about()
    for window in (2, (2, 4), (2, 4)):
        result = Predictor(run.checkpoint, device="cpu", score=0.0, window=window)(path)
        assert lines(service.answer(str(path), 0.0, window)) == expected(result, "a.png")
    assert service.answer(str(path), 0.0, 4).rows == service.answer(str(path), 0.0).rows
    assert loads.asked == [(None, 0.0), (2, 0.0), ((2, 4), 0.0)]  # its own needs no second model
    with pytest.raises(UserError, match="window"):
        service.answer(str(path), 0.0, (1, 2, 3))
    assert service.answer(str(path), 0.0).rows


@pytest.mark.parametrize(
    ("text", "window"), [("", None), ("  ", None), ("24", 24), ("8, 16 16", (8, 16, 16)), ("2x4", (2, 4))]
)
def test_a_window_as_text(text: str, window: Window) -> None:
    assert window_of(text) == window


@pytest.mark.parametrize("text", ["0", "-1", "a", "8.5", "8 0", "²", "[8]", "8" * 90])
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(UserError, match="give a number of tokens"):
        window_of(text)


@pytest.mark.parametrize("score", [2.0, -0.1, float("nan")])
def test_scores_that_no_detection_has(score: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--score .* give a number from 0 to 1"):
        Service(lambda *_: pytest.fail("loaded"), None, score, tmp_path)


def test_mistakes_name_the_file_alone(run_of: RunOf, folder: Path, video: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"broken")
    service, _ = served(run_of("detection"), tmp_path / "answers")
    for path, line in [
        (folder / "broken.png", "broken.png cannot be decoded: it is truncated or no image; replace it"),
        (video, "clip.mp4 is a video, and this page is for images: swinv2 predict takes videos"),
    ]:
        with pytest.raises(UserError) as raised:
            service.answer(str(path), 0.0)
        assert str(raised.value) == line
    service, _ = served(run_of("video"), tmp_path / "answers")
    (tmp_path / "broken.mp4").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"^a\.png is no video"):
        service.answer(str(folder / "a.png"), 0.0)
    with pytest.raises(UserError, match=r"^broken\.mp4 cannot be decoded"):
        service.answer(str(tmp_path / "broken.mp4"), 0.0)


def test_several_at_once(run_of: RunOf, image: np.ndarray, tmp_path: Path) -> None:
    """Other images, and other windows, whose models load meanwhile."""
    run = run_of("detection")
    windows: list[Window] = [None, 2, None, (2, 4), None, 3]
    jobs = []
    for number, window in enumerate(windows):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.roll(image, 7 * number, axis=1))
        jobs.append((str(path), window))
    alone = [
        expected(Predictor(run.checkpoint, device="cpu", score=0.0, window=window)(path), Path(path).name)
        for path, window in jobs
    ]
    service, _ = served(run, tmp_path / "answers")
    found: dict[int, Any] = {}

    def ask(number: int) -> None:
        path, window = jobs[number]
        found[number] = lines(service.answer(path, 0.0, window))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(len(jobs))] == alone


def test_old_answers_and_large_results_are_not_kept(
    run_of: RunOf, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT_FOLDERS", 2)
    monkeypatch.setattr(module, "_KEPT_BYTES", 1)
    service, _ = served(run_of("classification"), tmp_path / "answers")
    answers = [service.answer(str(folder / "a.png"), 0.0) for _ in range(4)]
    assert [answer.drawing.exists() for answer in answers] == [False, False, True, True]
    monkeypatch.setattr(service.first, "stream", lambda paths: (_ for _ in ()).throw(UserError("asked again")))
    with pytest.raises(UserError, match="asked again"):
        service.answer(str(folder / "a.png"), 0.0)

"""What the page asks for: the prediction on a file, with a score and a window, as a table and files."""

from __future__ import annotations

import collections
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.inference.prediction_files import PredictionFiles
from swinv2_dense.inference.predictor import Predictor
from swinv2_dense.inference.results import Detections, Reconstruction, Result
from swinv2_dense.inference.sources import Item, is_video

__all__ = ["HEADERS", "LOWEST_SCORE", "Answer", "Service", "window_of"]

HEADERS = {
    "detection": ["class", "score", "x1", "y1", "x2", "y2"],
    "segmentation": ["class", "share of the pixels"],
    "classification": ["class", "score"],
    "video": ["class", "score"],
    "simmim": ["difference of masked pixels, of 255"],
}
"""By task, of the table; boxes in pixels."""

LOWEST_SCORE = 0.05
"""What is less likely is not kept: of a hundred objects in a large image the masks alone are a gigabyte."""
_LARGEST = 1600  # pixels of a drawing's longer side: a phone's image would take half a minute to draw
_KEPT_BYTES = 2**29  # of the latest results, whose score may be changed without predicting again
_KEPT_FOLDERS = 16  # of files, each of which the page copies as soon as it has it

Window = int | Sequence[int] | None


class Answer(NamedTuple):
    """``drawing``: a JPEG. ``rows``: the table's, under the task's ``HEADERS``. ``files``: to download."""

    drawing: Path
    summary: str
    rows: list[list[str | float]]
    files: list[Path]


class Service:
    """Predictions for a page that several people may use at once.

    Args:
        load: makes a predictor of a window (None: the config's) and of a lowest score.
        window: of the first predictor. Its model stays; of other windows the latest one does.
        score: which detections are shown until the page asks for others.
        folder: for the files of the answers.

    Raises:
        UserError: the model cannot be loaded, or no detection has such a score.
    """

    def __init__(self, load: Callable[[Window, float], Predictor], window: Window, score: float, folder: Path) -> None:
        if not 0 <= score <= 1:
            raise UserError(f"--score {score:g}: give a number from 0 to 1")
        self.score, self.lowest = score, min(LOWEST_SCORE, score)
        self._load, self._folder = load, folder
        self.first = load(window, self.lowest)
        self.task = self.first.task
        self._other: tuple[Window, Predictor] | None = None
        self._results: collections.OrderedDict[tuple[str, Window], Result] = collections.OrderedDict()
        self._folders: collections.deque[Path] = collections.deque()
        self._answers = 0
        self._loading, self._lock = threading.Lock(), threading.Lock()

    def about(self) -> str:
        """The model in one line."""
        loaded = self.first.loaded
        classes = f", {len(loaded.classes)} classes" if loaded.classes else ""
        return f"{self.task}{classes}, window {self.window()}, on {loaded.device}"

    def window(self) -> str:
        """Of the first predictor, as the page and the command line write it."""
        return _text(self.first.loaded.cfg.model.backbone.get("window_size", "of the backbone"))

    def answer(self, path: str, score: float, window: Window = None) -> Answer:
        """Predict on a file, or take what was found in it before.

        Args:
            score: detections below it are left out.
            window: tokens; None for the first predictor's.

        Raises:
            UserError: it cannot be read, or there is no model of this window. The file is called by its name alone.
        """
        name = Path(path).name
        try:
            result = self._result(path, window)
        except UserError as error:
            raise UserError(str(error).replace(path, shown(name))) from error
        result = replace(result, source=name)
        if isinstance(result, Detections):
            result = result.above(score)
        folder = self._new_folder()
        item = Item(name, Path(name).stem, path=name)
        with PredictionFiles(folder, self.task, _LARGEST) as written:
            written.add(item, result)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return Answer(folder / f"{item.output}.jpg", result.summary(), _rows(result), files)

    def _result(self, path: str, window: Window) -> Result:
        key = (path, window)
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
        if is_video(path) and self.task != "video":
            raise UserError(f"{path} is a video, and this page is for images: swinv2 predict takes videos")
        (result,) = self._predictor(window).stream([path])
        if self.task != "simmim":  # which masks other parts each time
            self._keep(key, result)
        return result

    def _predictor(self, window: Window) -> Predictor:
        if window is None or _text(window) == self.window():
            return self.first
        with self._loading:  # one at a time: a second model may be all that there is memory for
            if self._other is None or self._other[0] != window:
                self._other = None
                self._other = (window, self._load(window, self.lowest))
            return self._other[1]

    def _keep(self, key: tuple[str, Window], result: Result) -> None:
        with self._lock:
            self._results[key] = result
            while self._results and sum(map(_bytes, self._results.values())) > _KEPT_BYTES:
                self._results.popitem(last=False)

    def _new_folder(self) -> Path:
        with self._lock:
            self._answers += 1
            folder = self._folder / f"answer{self._answers}"
            self._folders.append(folder)
            old = self._folders.popleft() if len(self._folders) > _KEPT_FOLDERS else None
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
        return folder


def window_of(text: str) -> Window:
    """A window as the page takes it: ``24``, ``8 16 16``; None of nothing.

    Raises:
        UserError: it is no list of whole numbers from 1 on.
    """
    words = re.split(r"[\s,x]+", text.strip()) if text.strip() else []
    if not all(re.fullmatch("[1-9][0-9]{0,5}", word) for word in words):
        raise UserError(f"window {shown(text, 40)!r}: give a number of tokens, or one for each axis: 24, or 8 16 16")
    numbers = tuple(map(int, words))
    return numbers[0] if len(numbers) == 1 else numbers or None


def _text(window: object) -> str:
    return " ".join(re.sub(r"[\[\](),]+", " ", str(window)).split())


def _rows(result: Result) -> list[list[str | float]]:
    if isinstance(result, Reconstruction):
        return [[round(result.difference(), 2)]]
    assert result.scores is not None
    boxes = [()] * len(result) if result.boxes is None else np.round(result.boxes.astype(float), 1).tolist()
    return [
        [name, round(float(score), 4), *box]
        for name, score, box in zip(result.names, result.scores, boxes, strict=True)
    ]


def _bytes(result: Result) -> int:
    return sum(value.nbytes for value in vars(result).values() if isinstance(value, np.ndarray))

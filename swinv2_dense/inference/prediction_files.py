"""The files that ``swinv2 predict`` writes: drawings, index maps, videos, and one file of JSON lines."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from swinv2_dense.errors import UserError
from swinv2_dense.files import make_out, within, write_image, writing

if TYPE_CHECKING:
    from swinv2_dense.inference.results import Result
    from swinv2_dense.inference.sources import Item

__all__ = ["OwnNames", "PredictionFiles"]


class OwnNames:
    """Names below a folder, one for every source: ``street``; ``street_2`` where another source has that name."""

    def __init__(self) -> None:
        self._sources: dict[str, str] = {}

    def of(self, source: str, wanted: str) -> str:
        name, number = wanted, 1
        while self._sources.setdefault(name, source) != source:
            number += 1
            name = f"{wanted}_{number}"
        return name


class PredictionFiles:
    """A context that takes results as they come. ``predictions.jsonl`` appears when it is complete.

    Args:
        folder: made where it is missing; files of an earlier prediction are replaced.
        task: as :class:`swinv2_dense.inference.Predictor` has it.
        largest: pixels of a drawing's longer side; None for the image's own size.
    """

    def __init__(self, folder: Path, task: str, largest: int | None = None) -> None:
        self.folder, self.task, self.largest = folder, task, largest
        self._names = OwnNames()
        self._video: tuple[str, Any] | None = None
        self._open = contextlib.ExitStack()
        self._lines: TextIO

    def __enter__(self) -> PredictionFiles:
        make_out(self.folder)
        path = self._open.enter_context(writing(self.folder / "predictions.jsonl"))
        self._lines = self._open.enter_context(path.open("w", encoding="utf-8"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_video()
        self._open.__exit__(kind, error, trace)

    def add(self, item: Item, result: Result) -> None:
        """Write all files of one result."""
        self._lines.write(result.to_json())
        name = self._names.of(item.path or item.name, item.output)
        if item.frame is not None:
            self._add_frame(item, name, result)
            return
        target = within(self.folder, f"{name}.jpg", "name of the image")
        target.parent.mkdir(parents=True, exist_ok=True)
        drawn = result if self.largest is None else result.shrunk(self.largest)
        write_image(target, drawn.plot())
        if self.task == "segmentation":
            path = self.folder / "maps" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, result.map)  # type: ignore[attr-defined]

    def _add_frame(self, item: Item, name: str, result: Result) -> None:
        import cv2

        drawn = result.plot()
        if self._video is None or self._video[0] != name:
            self._end_video()
            path = within(self.folder, f"{name}.mp4", "name of the video")
            path.parent.mkdir(parents=True, exist_ok=True)
            size = (drawn.shape[1], drawn.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), item.fps or 25.0, size)
            if not writer.isOpened():
                raise UserError(f"{path} cannot be written: this OpenCV has no MPEG-4 encoder (swinv2 doctor)")
            self._video = (name, writer)
        self._video[1].write(drawn)

    def _end_video(self) -> None:
        if self._video is not None:
            self._video[1].release()
            self._video = None

"""The files that ``swinv2 predict`` writes: drawings, index maps, videos, and one file of JSON lines."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from swinv2_dense.errors import UserError
from swinv2_dense.files import make_out, within, write_image, writing

if TYPE_CHECKING:
    import numpy as np

    from swinv2_dense.inference.results import Result
    from swinv2_dense.inference.sources import Item

__all__ = ["PredictionFiles", "files_of"]

_LINES = "predictions.jsonl"


def files_of(name: str) -> tuple[Path, ...]:
    """What may be written for the source whose output has this name, below the folder."""
    return Path(f"{name}.jpg"), Path(f"{name}.mp4"), Path("maps", f"{name}.png")


class PredictionFiles:
    """A context that takes results as they come. ``predictions.jsonl`` appears when it is complete.

    Args:
        folder: made where it is missing; files of an earlier prediction are replaced.
        task: as :class:`swinv2_dense.inference.Predictor` has it.
        largest: pixels of a drawing's longer side; None for the image's own size.
    """

    def __init__(self, folder: Path, task: str, largest: int | None = None) -> None:
        self.folder, self.task, self.largest = folder, task, largest
        self._written: set[Path] = set()
        self._used = (folder / _LINES).exists()
        self._video: _Video | None = None
        self._open = contextlib.ExitStack()
        self._lines: TextIO

    def __enter__(self) -> PredictionFiles:
        make_out(self.folder)
        path = self._open.enter_context(writing(self.folder / _LINES))
        self._lines = self._open.enter_context(path.open("w", encoding="utf-8"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end_video(kind, error, trace)
        finally:
            self._open.__exit__(kind, error, trace)

    def add(self, item: Item, result: Result) -> None:
        """Write all files of one result."""
        self._lines.write(result.to_json())
        drawing, video, class_map = (self.folder / path for path in files_of(item.output))
        if item.frame is not None:
            self._add_frame(item, result)
            self._written.add(video)
            return
        within(self.folder, f"{item.output}.jpg", "name of the image")
        drawing.parent.mkdir(parents=True, exist_ok=True)
        drawn = result if self.largest is None else result.shrunk(self.largest)
        write_image(drawing, drawn.plot())
        self._written.add(drawing)
        if self.task == "segmentation":
            class_map.parent.mkdir(parents=True, exist_ok=True)
            write_image(class_map, result.map)  # type: ignore[attr-defined]
            self._written.add(class_map)

    def earlier(self) -> list[Path]:
        """Images and videos in a folder of an earlier prediction that are not of this one."""
        if not self._used:
            return []
        found = (path for path in self.folder.rglob("*") if path.suffix in (".jpg", ".mp4", ".png") and path.is_file())
        return sorted(path for path in found if path not in self._written)

    def _add_frame(self, item: Item, result: Result) -> None:
        drawn = result.plot()
        if self._video is None or self._video.name != item.output:
            self._end_video(None, None, None)
            self._video = _Video(self.folder, item.output, item.fps or 25.0, drawn)
        self._video.write(drawn)

    def _end_video(self, *error: Any) -> None:
        video, self._video = self._video, None
        if video is not None:
            video.end(*error)


class _Video:
    """An MPEG-4 file that appears under its name when it is complete."""

    def __init__(self, folder: Path, name: str, fps: float, first: np.ndarray) -> None:
        import cv2

        self.name = name
        path = within(folder, f"{name}.mp4", "name of the video")
        self._open = contextlib.ExitStack()
        place = self._open.enter_context(writing(path))
        self._writer = cv2.VideoWriter(
            str(place), cv2.VideoWriter.fourcc(*"mp4v"), fps, (first.shape[1], first.shape[0])
        )
        if not self._writer.isOpened():
            error = UserError(f"{path} cannot be written: this OpenCV has no MPEG-4 encoder (swinv2 doctor)")
            self.end(type(error), error, None)
            raise error

    def write(self, frame: np.ndarray) -> None:
        self._writer.write(frame)

    def end(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.release()
        self._open.__exit__(kind, error, trace)

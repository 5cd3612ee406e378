"""What users predict on: files, folders, patterns, videos, cameras, standard input, arrays and PIL images."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from swinv2_dense.errors import UserError
from swinv2_dense.files import walk
from swinv2_dense.inference.decoding import COLOURS, Decoder
from swinv2_dense.inference.results import image_id_of
from swinv2_dense.suffixes import CLIPS, IMAGES

__all__ = ["Item", "SourceFile", "expand", "is_video", "items", "named", "to_image"]

_DEEP = ("I", "F")  # PIL's modes of 32 bits
_WHOLE = 0.9  # share of a video's length, which containers know roughly


@dataclass
class Item:
    """One thing to predict on.

    ``image``: as the decoder makes it, by default uint8, H x W x 3, BGR; or None where ``problem`` says why there is
    none, or where a video classifier reads ``path`` itself. ``name``: as the user would call it. ``output``: below
    which name results are written, without an extension. ``frame``, ``fps``: of a video's frame. ``frames``: how many
    the video says it has; 0 where it does not. ``image_id``: as results have it.
    """

    name: str
    output: str
    image: np.ndarray | None = None
    path: str = ""
    frame: int | None = None
    fps: float = 0.0
    frames: int = 0
    problem: str | None = None
    image_id: int | str | None = None


class SourceFile(NamedTuple):
    """A file of a source, a camera's number or ``-``. ``output``, ``image_id``: as :class:`Item` has them."""

    path: str
    output: str
    image_id: int | str


def is_video(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() in CLIPS


def expand(source: str) -> list[tuple[str, str]]:
    """Files that a source names, each with the name that its output gets; a camera and ``-`` stand for themselves.

    Raises:
        UserError: there is nothing.
    """
    if not source:
        raise UserError("a source is empty text: give an image, a folder, a pattern, a video, a camera's number or -")
    if source == "-" or _is_camera(source):
        return [(source, "stdin" if source == "-" else f"camera{source}")]
    path = Path(os.path.expanduser(source))  # Path's own fails on a file ~a.jpg
    if path.is_dir():
        files = (Path(place, name) for place, names in walk(path) for name in names)
        found = sorted(p for p in files if p.suffix.lower() in (*IMAGES, *CLIPS) and p.is_file())
        if not found:
            raise UserError(f"{source} has no images or videos in it ({', '.join((*IMAGES, *CLIPS))})")
        return [(str(p), p.relative_to(path).with_suffix("").as_posix()) for p in found]
    if not path.exists() and glob.has_magic(source):
        names = sorted(name for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
        if not names:
            raise UserError(f"no file matches {source}")
        return [(name, Path(name).stem) for name in names]
    if not path.exists():
        raise UserError(f"{source} does not exist: give an image, a folder, a pattern, a video, a camera's number or -")
    return [(str(path), path.stem)]


def named(entries: Sequence[tuple[str, str]]) -> list[SourceFile]:
    """What :func:`expand` found in one or several sources, with names and ids that no two files share.

    Of files that would have one name, the later become ``street_2`` and so on; of files that would have one id, each
    has its path.
    """
    paths = {os.path.abspath(path): path for path, _ in entries}
    shared = Counter(image_id_of(_called(path)) for path in paths.values())
    takers: dict[str, str] = {}
    found = []
    for path, wanted in entries:
        name, number = wanted, 1
        while takers.setdefault(name, os.path.abspath(path)) != os.path.abspath(path):
            number += 1
            name = f"{wanted}_{number}"
        image_id = image_id_of(_called(path))
        found.append(SourceFile(path, name, image_id if shared[image_id] == 1 else path))
    return found


def _called(path: str) -> str:
    return "standard input" if path == "-" else f"camera {path}" if _is_camera(path) else path


def _is_camera(source: str) -> bool:
    return source.isdecimal() and not Path(source).exists()


def items(source: Any, *, whole_videos: bool = False, decoder: Decoder = COLOURS) -> Iterator[Item]:
    """The images of a source, one after another; nothing is read before it is asked for.

    Args:
        source: path, folder, pattern, camera number or ``-``; an array, a PIL image; or an iterable of these, which may
            hold what :func:`named` returns.
        whole_videos: leave videos as one item, for models that read them.
        decoder: of image files, and what says which channels an array has.

    Raises:
        UserError: there is nothing, or what is there is no image.
    """
    if whole_videos and (isinstance(source, np.ndarray) or _is_pil(source)):
        raise UserError("this model classifies videos: give the path of one, not an array or an image")
    if isinstance(source, np.ndarray) or _is_pil(source):
        yield Item("image", "image", to_image(source, decoder), image_id="image")
    elif isinstance(source, SourceFile):
        for item in _of_file(source.path, source.output, whole_videos, decoder):
            item.image_id = source.image_id
            yield item
    elif isinstance(source, (str, os.PathLike)):
        yield from items(named(expand(os.fspath(source))), whole_videos=whole_videos, decoder=decoder)
    elif (
        isinstance(source, (list, tuple)) and source and all(isinstance(entry, (str, os.PathLike)) for entry in source)
    ):
        entries = [entry for path in source for entry in expand(os.fspath(path))]
        yield from items(named(entries), whole_videos=whole_videos, decoder=decoder)
    elif isinstance(source, Iterable) and not (isinstance(source, (bytes, Mapping)) or hasattr(source, "shape")):
        for number, entry in enumerate(source):
            for item in items(entry, whole_videos=whole_videos, decoder=decoder):
                if not item.path:  # an array has none
                    item.name, item.output, item.image_id = f"image {number}", f"image{number:06d}", f"image {number}"
                yield item
    else:
        raise UserError(f"cannot predict on a {type(source).__name__}: give a path, an array, a PIL image or several")


def _of_file(path: str, output: str, whole_videos: bool, decoder: Decoder) -> Iterator[Item]:
    if whole_videos and not is_video(path):
        yield Item(path, output, path=path, problem=f"{_called(path)} is no video, and this model classifies videos")
    elif path == "-":
        yield _decoded(sys.stdin.buffer.read(), _called(path), output, decoder)
    elif _is_camera(path):
        yield from _frames(int(path), _called(path), output)
    elif is_video(path):
        yield from [Item(path, output, path=path)] if whole_videos else _frames(path, path, output)
    else:
        try:
            yield _decoded(Path(path).read_bytes(), path, output, decoder)
        except OSError as error:
            yield Item(path, output, path=path, problem=f"{path} cannot be read: {error.strerror or error}")


def _decoded(content: bytes, name: str, output: str, decoder: Decoder) -> Item:
    try:
        return Item(name, output, decoder(content, name), path=name)
    except UserError as error:
        return Item(name, output, path=name, problem=str(error))


def _frames(source: str | int, name: str, output: str) -> Iterator[Item]:
    import cv2

    capture = cv2.VideoCapture(source)
    fps, number, last = capture.get(cv2.CAP_PROP_FPS) or 25.0, 0, 0.0
    frames = 0 if isinstance(source, int) else max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    try:
        while True:
            there, frame = capture.read()
            if not there:
                break
            last = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield Item(f"{name} frame {number}", output, np.asarray(frame), str(name), number, fps, frames)
            number += 1
    finally:
        capture.release()
    problem = None
    if number == 0 and isinstance(source, int):
        problem = f"{name} gives no image: none of this number is connected, or another program uses it"
    elif number == 0:
        problem = f"{name} cannot be opened as a video"
    elif number < frames and last < _WHOLE * frames / fps:  # by time, as frames may be at uneven distances
        problem = f"{name} ends after {number} of {frames} frames: the rest of the file is damaged or missing"
    if problem:
        yield Item(name, output, path=str(name), problem=problem)


def _is_pil(source: Any) -> bool:
    return type(source).__module__.partition(".")[0] == "PIL"


def to_image(source: Any, decoder: Decoder = COLOURS) -> np.ndarray:
    """uint8, H x W x 3, BGR, of an array (BGR, BGRA or grey, H x W or H x W x 1) or a PIL image; for models of other
    channels the array.

    Raises:
        UserError: an array of another shape or type, or a PIL image of more than 8 bits.
    """
    if not decoder.colours and isinstance(source, np.ndarray):
        return decoder.checked(source.copy(), "the array")
    if _is_pil(source):
        from PIL import ImageOps

        turned = ImageOps.exif_transpose(source)
        if not decoder.colours and turned.mode in ("L", *_DEEP, "I;16"):
            return decoder.checked(np.array(turned), "the image")
        if turned.mode in _DEEP or turned.mode.startswith("I;16"):  # convert() makes white of all above 255
            raise UserError(
                f"a PIL image of mode {turned.mode} has more than 8 bits, and the model takes 8: convert it"
            )
        return decoder.checked(np.ascontiguousarray(np.asarray(turned.convert("RGB"))[..., ::-1]), "the image")
    image = np.asarray(source)
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim == 3 and image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4) or not image.size:
        given = f"{image.dtype} {' x '.join(map(str, np.shape(source)))}"
        raise UserError(f"an image is a uint8 array, height x width x 3 (BGR), not {given}")
    return np.array(image[..., :3], order="C")  # a copy: whoever gave it may write the next image into it

"""Sources expand to files in a stable order; what cannot be read says why instead of ending the rest."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from swinv2_dense.errors import UserError
from swinv2_dense.inference.decoding import Decoder
from swinv2_dense.inference.sources import expand, items, to_image


def test_folders_and_patterns(folder: Path) -> None:
    assert [name for _, name in expand(str(folder))] == ["a", "below/b", "c"]
    assert [name for _, name in expand(str(folder / "**" / "*.png"))] == ["a", "b", "c"]
    assert expand("0") == [("0", "camera0")]
    assert expand("-") == [("-", "stdin")]


@pytest.mark.parametrize(
    ("source", "part"),
    [("gone.jpg", "does not exist"), ("*.jpg", "no file matches"), (".", "has no images"), ("", "is empty text")],
)
def test_nothing_there(source: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=part):
        expand(source)


def test_standard_input(image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    content = cv2.imencode(".png", image)[1].tobytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    (item,) = items("-")
    assert np.array_equal(item.image, image)


def test_linked_folders_are_looked_into_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "a.png").rename(tmp_path / "elsewhere" / "d.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "below" / "circle").symlink_to(folder)
    (folder / ".hidden").mkdir()
    (folder / "below" / "b.png").rename(folder / ".hidden" / "b.png")
    assert [name for _, name in expand(str(folder))] == ["c", "linked/d"]


def test_problems_are_noted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    found = list(items([folder / "a.png", tmp_path / "empty.jpg", tmp_path / "broken.mp4"]))
    assert [item.problem and item.problem.split("/")[-1] for item in found] == [
        None,
        "empty.jpg is an empty file: replace it",
        "broken.mp4 cannot be opened as a video",
    ]


def test_frames_of_a_video(video: Path) -> None:
    frames = list(items(video))
    assert [(frame.frame, frame.fps) for frame in frames] == [(number, 10.0) for number in range(6)]
    assert len(list(items(video, whole_videos=True))) == 1


def test_a_video_that_breaks_off_is_named(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="writes a file whose index comes first")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(40):
            noise = np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise)))
        container.mux(stream.encode())
    whole = list(items(path))
    assert [item.problem for item in whole] == [None] * 40
    assert {item.frames for item in whole} == {40}
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *frames, last = items(path)
    assert 5 < len(frames) < 35
    assert last.problem is not None
    assert last.problem.endswith(f"ends after {len(frames)} of 40 frames: the rest of the file is damaged or missing")


class _Camera:
    """Three images, then none."""

    def __init__(self, source: int) -> None:
        self.left = 3 if source == 0 else 0

    def get(self, _: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.zeros((4, 6, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        pass


def test_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", _Camera)
    found = list(items("0"))
    assert [(item.name, item.output, item.frames) for item in found] == [
        (f"camera 0 frame {number}", "camera0", 0) for number in range(3)
    ]
    (none,) = items("7")
    assert none.problem == "camera 7 gives no image: none of this number is connected, or another program uses it"


def test_arrays(image: np.ndarray) -> None:
    for grey in (image[..., 0], image[..., :1]):
        assert np.array_equal(to_image(grey), np.stack([image[..., 0]] * 3, axis=2))
    for wrong in (image[None], image[..., :2], image.astype(np.float32), image[:0]):
        with pytest.raises(UserError, match="an image is a uint8 array"):
            to_image(wrong)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_pil_images_of_more_than_8_bits(mode: str, image: np.ndarray) -> None:
    """PIL's own conversion makes white of all that is above 255."""
    deep = Image.fromarray(image[..., 0].astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]) * 200)
    with pytest.raises(UserError, match=f"a PIL image of mode {mode} has more than 8 bits"):
        to_image(deep)
    grey = Decoder("unchanged", "cv2", 1)
    assert np.array_equal(to_image(deep, grey), np.asarray(deep))
    with pytest.raises(UserError, match="has 3 channels, and the model takes 1"):
        to_image(Image.fromarray(image), grey)


@pytest.mark.parametrize("source", [torch.zeros(2, 3, 8, 8), b"abc", {"a": 1}])
def test_what_is_no_list_of_images(source: Any) -> None:
    with pytest.raises(UserError, match="cannot predict on a"):
        list(items(source))


def test_ids(folder: Path, image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of lists, folders and arrays in lists: no two things share one, and a file given twice keeps its own."""
    monkeypatch.chdir(folder)
    (folder / "below/b.png").rename("below/a.png")
    assert [item.image_id for item in items(".")] == ["a.png", "below/a.png", "c.png"]
    assert [item.image_id for item in items(["c.png", "below", "./c.png"])] == ["c.png", "a.png", "c.png"]
    assert [item.image_id for item in items([image, "c.png", image])] == ["image 0", "c.png", "image 2"]
    (folder / "c.png").rename("image")  # a file of that name stays a file
    assert [(item.name, item.output) for item in items(["image", "a.png"])] == [("image", "image"), ("a.png", "a")]


def test_names_that_begin_with_a_tilde(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "a.png").rename("~a.png")
    assert expand("~a.png") == expand("~*.png") == [("~a.png", "~a")]

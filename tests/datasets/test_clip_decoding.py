"""Frames are those of a full decoding, whatever codec, container and order; what cannot be decoded is named."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs the video extra")
pytest.importorskip("mmcv", reason="needs the video extra")

from swinv2_dense.datasets.clip_decoding import ClipReader, DecodeClip, OpenClip
from swinv2_dense.errors import UserError

FRAMES = 45
# codec, container, options: B-frames, short and long groups, open groups, no time stamps, hidden frames.
KINDS = {
    "h264": ("libx264", "mp4", {"g": "12", "bf": "3"}),
    "h264 of one group": ("libx264", "mp4", {"g": "300", "bf": "2"}),
    "h264 of tiny groups": ("libx264", "mp4", {"g": "2", "bf": "1"}),
    "h264 of open groups": ("libx264", "mkv", {"x264-params": "open-gop=1:keyint=10:bframes=3"}),
    "h264 of interlaced frames": ("libx264", "mp4", {"x264-params": "tff=1:keyint=12:bframes=3"}),
    "h264 of broadcasts": ("libx264", "ts", {"g": "12", "bf": "3"}),
    "hevc": ("libx265", "mp4", {"x265-params": "keyint=10:log-level=none"}),
    "vp9": ("libvpx-vp9", "webm", {"g": "15", "lag-in-frames": "10", "auto-alt-ref": "1"}),
    "vp8": ("libvpx", "webm", {"g": "15", "lag-in-frames": "10", "auto-alt-ref": "1"}),
    "av1": ("libsvtav1", "mp4", {"preset": "12", "g": "15"}),
    "mpeg4": ("mpeg4", "mp4", {"g": "12", "bf": "2"}),
    "mpeg4 without time stamps": ("mpeg4", "avi", {"g": "12", "bf": "2"}),
    "mpeg2": ("mpeg2video", "ts", {"g": "12", "bf": "2"}),
    "motion jpeg": ("mjpeg", "avi", {}),
}


def write(path: Path, codec: str, options: dict[str, str], frames: int = FRAMES) -> Path:
    """A square that moves over noise, so that no two frames are alike."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 80, (64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for t in range(frames):
            image = np.roll(ground, t, axis=1)
            image[10 + t % 30 : 26 + t % 30, t : t + 20] = 255 - 5 * (t % 50)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def everything(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clips") / "clip.mp4", "libx264", {"g": "12", "bf": "3"})


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_a_full_decoding(tmp_path: Path, kind: str, threads: int) -> None:
    codec, container, options = KINDS[kind]
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec}")
    path = write(tmp_path / f"clip.{container}", codec, options)
    expected = everything(path)
    assert len(expected) == FRAMES
    reader = ClipReader(str(path), threads)
    assert len(reader) == FRAMES
    assert reader.fps == pytest.approx(25)
    last = FRAMES - 1
    for places in ([0], [last], list(range(FRAMES)), [last, 0, 20, 20, 3], [7, 11, 15, 19], [30, 31, 32, 5, 6, 7]):
        found = reader.read(places)
        assert [np.array_equal(image, expected[place]) for image, place in zip(found, places, strict=True)] == [
            True
        ] * len(places)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Types of the frames that come out of the decoder, in this order: I, P, B."""
    types: list[str] = []
    whole = ClipReader._decode

    def noted(self: ClipReader, *args: Any) -> Iterator[Any]:
        for frame in whole(self, *args):
            types.append(av.video.frame.PictureType(frame.pict_type).name)
            yield frame

    monkeypatch.setattr(ClipReader, "_decode", noted)
    return types


def test_what_need_not_be_decoded_is_not(tmp_path: Path, decoded: list[str]) -> None:
    # IBBBPBBBPBBP, four times, and no frame refers to a B.
    fixed = {"x264-params": "keyint=12:scenecut=0:bframes=3:b-adapt=0:b-pyramid=none"}
    path = write(tmp_path / "clip.mp4", "libx264", fixed)
    ClipReader(str(path)).read([26, 33])
    assert decoded == ["I", "B", "P", "P", "B"]  # 24, 26, 28, 32, 33


@pytest.mark.skipif("libx265" not in av.codecs_available, reason="this PyAV has no encoder libx265")
def test_hevc_leaves_no_frame_out(tmp_path: Path, decoded: list[str]) -> None:
    """Its mark of frames to which no other refers holds within one temporal layer alone."""
    path = write(tmp_path / "clip.mp4", "libx265", {"x265-params": "keyint=60:bframes=3:log-level=none"})
    ClipReader(str(path)).read([20])
    assert len(decoded) == 21


def without_reordering(path: Path) -> None:
    """Take away by how much frames are reordered, which x264 writes last into the stream's head."""
    raw = path.read_bytes()
    at = raw.index(b"\xff\xe1") + 4  # in Matroska's private data: one head, and its length
    end = at + int.from_bytes(raw[at - 2 : at], "big")
    bits = "".join(f"{byte:08b}" for byte in raw[at:end])
    known = re.search(r"1111(0001\d{3}){2}(1|01.|001..)(01.|001..|0001...)10*$", bits)
    assert known
    bits = f"{bits[: known.start()]}01".ljust(len(bits), "0")
    path.write_bytes(raw[:at] + int(bits, 2).to_bytes(end - at, "big") + raw[end:])


def test_leaving_frames_out_loses_none(tmp_path: Path) -> None:
    """A decoder learns late by how much frames are reordered if it is not told, and drops those that come too late."""
    path = write(tmp_path / "clip.mkv", "libx264", {"g": "60", "bf": "3"})
    expected = everything(path)
    without_reordering(path)
    left = everything(path)
    given = [place for place, image in enumerate(expected) if any(np.array_equal(image, other) for other in left)]
    assert len(given) >= FRAMES - 2
    for first in range(20):
        places = [place for place in given if place >= first][:17:4]
        found = ClipReader(str(path)).read(places)
        assert all(np.array_equal(image, expected[place]) for image, place in zip(found, places, strict=True))


def test_bytes_are_read_like_a_file(clip: Path) -> None:
    assert np.array_equal(ClipReader(clip.read_bytes()).read([9])[0], everything(clip)[9])


def test_a_title_that_is_not_utf8_does_no_harm(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "titled.mp4"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        target.metadata["title"] = "title of the clip"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    raw = path.read_bytes()
    assert b"title of the clip" in raw
    path.write_bytes(raw.replace(b"title of the clip", b"title of \xff\xfe clip"[:17].ljust(17)))
    assert len(ClipReader(str(path))) == FRAMES


@pytest.mark.parametrize("threads", [1, 2])
def test_a_process_forked_after_reading_reads_as_well(tmp_path: Path, threads: int) -> None:
    """As a data loader's workers do, after a batch was tried in the parent. Large frames are converted on threads."""
    path = tmp_path / "large.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((480, 640, 3), 99, np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    # In a process of its own: this one has threads of other tests, which a fork would leave behind in any state.
    program = (
        "import multiprocessing, sys\n"
        "from swinv2_dense.datasets.clip_decoding import ClipReader\n"
        f"read = lambda: ClipReader({str(path)!r}, {threads}).read([0])\n"
        "read()\n"
        "child = multiprocessing.get_context('fork').Process(target=read)\n"
        "child.start(); child.join(60); hangs = child.is_alive(); child.kill(); child.join()\n"
        "sys.exit('hangs' if hangs else child.exitcode)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_transforms(clip: Path) -> None:
    results = OpenClip(threads=2)({"filename": str(clip)})
    assert results["total_frames"] == FRAMES
    assert results["avg_fps"] == pytest.approx(25)
    results["frame_inds"] = np.array([[3, 5], [40, 3]])
    results = DecodeClip()(results)
    expected = everything(clip)
    assert all(np.array_equal(a, expected[i]) for a, i in zip(results["imgs"], [3, 5, 40, 3], strict=True))
    assert results["img_shape"] == results["original_shape"] == (64, 96)
    assert results["video_reader"] is None
    with pytest.raises(UserError, match="threads=0"):
        OpenClip(threads=0)


@pytest.mark.parametrize(("degrees", "turns"), [(90, 3), (180, 2), (270, 1)])
def test_clips_are_turned_as_they_ask_for(clip: Path, tmp_path: Path, degrees: int, turns: int) -> None:
    """Players turn by the matrix in the track's header; phones write it for upright clips."""
    raw = bytearray(clip.read_bytes())
    one, cos, sin = 1 << 16, {90: 0, 180: -1, 270: 0}[degrees], {90: 1, 180: 0, 270: -1}[degrees]
    matrix = struct.pack(">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    at = raw.index(b"tkhd") + 4 + 40
    assert raw[at : at + 36] == struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    raw[at : at + 36] = matrix
    (tmp_path / "turned.mp4").write_bytes(raw)
    found = ClipReader(str(tmp_path / "turned.mp4")).read([5])[0]
    assert np.array_equal(found, np.rot90(everything(clip)[5], turns))  # clockwise by so many degrees


def sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("cut", "cut off"),
        ("text", "Invalid data"),
        ("empty", "Invalid data"),
        ("unknown codec", "codec is not known"),
        ("sound alone", "holds no video"),
    ],
)
def test_what_is_no_clip_is_named_in_one_line(clip: Path, tmp_path: Path, fault: str, message: str) -> None:
    path = tmp_path / "clip.mp4"
    raw = clip.read_bytes()
    if fault == "cut":  # the header in front, as in clips for the web
        with av.open(str(clip)) as source, av.open(str(path), "w", options={"movflags": "faststart"}) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
    elif fault == "sound alone":
        sound(path)
    else:
        path.write_bytes({"text": b"no clip", "empty": b"", "unknown codec": raw.replace(b"avc1", b"zzz1")}[fault])
    with pytest.raises(ValueError, match=message) as error:
        ClipReader(str(path))
    assert len(str(error.value).splitlines()) == 1


def test_an_absent_file_is_an_error_of_the_file_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        ClipReader(str(tmp_path / "absent.mp4"))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_damage_on_the_way_to_a_frame_is_found(tmp_path: Path, codec: str) -> None:
    path = write(tmp_path / "clip.mp4", codec, {"g": "60", "bf": "0"})
    raw = bytearray(path.read_bytes())
    third = len(raw) // 3
    raw[third : third + 600] = bytes(600)
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"damaged|Invalid data|cannot be decoded|cut off"):
        ClipReader(str(path)).read([FRAMES - 1])


def test_frames_that_are_not_there(clip: Path) -> None:
    with pytest.raises(ValueError, match="has 45 frames, asked for those from 3 to 45"):
        ClipReader(str(clip)).read([3, 45])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="a named pipe, not a regular file"):
        ClipReader(str(tmp_path / "a.mp4"))

"""Frames of clips by PyAV: exact ones, of every codec that its FFmpeg knows, decoded from the nearest key frame on."""

from __future__ import annotations

import bisect
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.fileio import LocalBackend, get_file_backend

from swinv2_dense.errors import UserError
from swinv2_dense.files import open_regular
from swinv2_dense.registry import TRANSFORMS

# isort: split
try:
    import av
except ImportError as error:
    raise UserError("reading clips needs PyAV: pip install 'swinv2_dense[video]'") from error

__all__ = ["ClipReader", "DecodeClip", "OpenClip"]

# A title in another encoding than UTF-8 is no reason to refuse a clip; PyAV 19 never does, and has no such option.
_ANY_TEXT: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}


class ClipReader:
    """The frames of one clip by their place in it, as a full decoding would give them.

    Opening it lists the packets, which decodes nothing, so the number of frames is what the file holds and not what its
    header says.

    Args:
        source: a path, or the bytes of a file.
        threads: of the decoder; more help where a process reads clips alone, not beside others of a data loader.

    Raises:
        ValueError: no video, damaged, cut off, or of a codec that this PyAV does not know.
        OSError: the file cannot be read.
    """

    def __init__(self, source: str | bytes, threads: int = 1) -> None:
        self._source, self._threads = source, threads
        # Not PyAV's own, which lives as long as its thread: a process forked later would lack its pool of threads,
        # and its first frame would wait for them for ever.
        self._converter = av.video.reformatter.VideoReformatter()
        self._open()
        # Places in time, in the stream's time base: of every frame, and of frames from which decoding can start.
        self._times: list[int] = []
        self._starts: list[tuple[int, int]] = []
        try:
            self._length = self._list_packets()
        except av.error.FFmpegError as error:
            raise ValueError(error.strerror) from error

    def __len__(self) -> int:
        return self._length

    @property
    def fps(self) -> float:
        """Frames per second, on average; 0 where the file does not say."""
        return float(self._stream.average_rate or 0)

    def read(self, places: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """The frames at these places, in this order: uint8 RGB, height x width x 3, turned as the file asks for.

        Raises:
            ValueError: a frame cannot be decoded, or there is none at this place.
        """
        wanted = sorted({int(place) for place in places})
        if wanted and not 0 <= wanted[0] <= wanted[-1] < self._length:
            raise ValueError(f"has {self._length} frames, asked for those from {wanted[0]} to {wanted[-1]}")
        try:
            images = self._images(wanted)
        except av.error.FFmpegError as error:
            raise ValueError(error.strerror) from error
        if len(images) < len(wanted):
            missing = next(place for place in wanted if place not in images)
            raise ValueError(f"frame {missing} of {self._length} cannot be decoded")
        if len({image.shape for image in images.values()}) > 1:
            raise ValueError("its frames change size")
        return [images[int(place)] for place in places]

    def close(self) -> None:
        self._container.close()

    def _open(self) -> None:
        try:
            if not isinstance(self._source, bytes) and os.path.exists(self._source):
                open_regular(self._source, "clip").close()  # of a named pipe FFmpeg would wait for the first byte
            file = io.BytesIO(self._source) if isinstance(self._source, bytes) else self._source
            self._container = av.open(file, "r", **_ANY_TEXT)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise ValueError(error.strerror) from error
        if not self._container.streams.video:
            raise ValueError("holds no video")
        self._stream = self._container.streams.video[0]
        codec = self._stream.codec_context
        if codec is None:
            raise ValueError("its codec is not known to this PyAV; convert it, to H.264 say")
        codec.thread_count, codec.thread_type = self._threads, "AUTO"

    def _list_packets(self) -> int:
        """The number of frames; notes when each is shown, if the file says so without gaps."""
        times: list[int | None] = []
        for packet in self._container.demux(self._stream):
            if packet.is_corrupt:
                raise ValueError("cut off, or damaged")
            if packet.size == 0 or packet.is_discard:  # the end; before the start that an edit list gives
                continue
            times.append(packet.pts)
            if packet.is_keyframe and packet.pts is not None:
                self._starts.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
        known = [time for time in times if time is not None]
        if len(set(known)) == len(times) and self._starts:
            self._times, self._starts = sorted(known), sorted(self._starts)
            return len(times)
        return sum(1 for _ in self._decode(0))  # as in AVI files: only decoding counts them

    def _images(self, wanted: Sequence[int]) -> dict[int, np.ndarray]:
        if not self._times:
            return dict(self._by_count(wanted))
        # H.264 marks the frames to which no other refers, often half of them. HEVC's mark holds within one temporal
        # layer alone.
        if self._stream.codec_context.name == "h264":
            images = dict(self._by_time(wanted, lean=True))
            if len(images) == len(wanted):
                return images
            # Not told by how much frames are reordered, the decoder learns it late where some are left out, and drops
            # those that come out of order.
        return dict(self._by_time(wanted, lean=False))

    def _by_time(self, wanted: Sequence[int], lean: bool) -> Iterator[tuple[int, np.ndarray]]:
        """Decode from the key frame before each wanted frame on, or continue where that is nearer."""
        needed = {self._times[place] for place in wanted} if lean else None
        frames: Iterator[Any] = iter(())
        now: int | None = None
        for place in wanted:
            time = self._times[place]
            start, stored = self._starts[max(bisect.bisect(self._starts, (time, 1 << 62)) - 1, 0)]
            # Containers differ in which time a seek means: the one shown may lead too far, the one stored not far.
            attempts = (start, stored, None) if now is None or now < start else ()
            frame = None if attempts else self._forward(frames, time)
            for stamp in attempts:
                frames = self._decode(stamp, needed)
                frame = self._forward(frames, time)
                if frame is not None and frame.pts == time:
                    break
            if frame is None or frame.pts != time:
                return
            now = time
            yield place, self._image(frame)

    def _by_count(self, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        places = set(wanted)
        for place, frame in enumerate(self._decode(None)):
            if place in places:
                yield place, self._image(frame)
            if place >= wanted[-1]:
                return

    @staticmethod
    def _forward(frames: Iterator[Any], time: int) -> Any:
        """The first frame that is not shown before this time."""
        return next((frame for frame in frames if frame.pts is None or frame.pts >= time), None)

    def _decode(self, stamp: int | None, needed: set[int] | None = None) -> Iterator[Any]:
        """Frames from the key frame at or before this time on; without a time, from the clip's first.

        Args:
            needed: times of frames to decode; others to which no frame refers are left out. None: all are decoded.

        Raises:
            ValueError: a frame that the decoder had to patch up.
        """
        if stamp is None:
            self._container.close()
            self._open()
        else:
            self._container.seek(stamp, stream=self._stream, backward=True)
        codec = self._stream.codec_context
        for packet in self._container.demux(self._stream):
            codec.skip_frame = "DEFAULT" if needed is None or packet.pts in needed else "NONREF"
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise ValueError("damaged")
                yield frame

    def _image(self, frame: Any) -> np.ndarray:
        # Not scaled here: one pass of libswscale takes longer than this and cv2's scaling of the same frame.
        image = self._converter.reformat(frame, format="rgb24", threads=self._threads).to_ndarray()
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


@TRANSFORMS.register_module()
class OpenClip(BaseTransform):
    """Open the clip at ``filename``: stands where mmaction2's PyAVInit does, before frames are sampled.

    Adds ``total_frames``, ``avg_fps`` and ``video_reader``, which DecodeClip closes.

    Args:
        threads: see ClipReader.
    """

    def __init__(self, threads: int = 1) -> None:
        if threads < 1:
            raise UserError(f"OpenClip: threads={threads} must be at least 1")
        self.threads = threads

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        name = results["filename"]
        backend = get_file_backend(name)
        reader = ClipReader(str(name) if isinstance(backend, LocalBackend) else backend.get(name), self.threads)
        results["video_reader"], results["total_frames"], results["avg_fps"] = reader, len(reader), reader.fps
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(threads={self.threads})"


@TRANSFORMS.register_module()
class DecodeClip(BaseTransform):
    """Decode the frames at ``frame_inds``: stands where mmaction2's PyAVDecode does, which keeps every frame in memory.

    Adds ``imgs`` (uint8 RGB, height x width x 3), ``img_shape`` and ``original_shape``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        reader = results["video_reader"]
        results["frame_inds"] = np.asarray(results["frame_inds"]).reshape(-1)
        results["imgs"] = reader.read(results["frame_inds"])
        reader.close()
        results["video_reader"] = None
        results["original_shape"] = results["img_shape"] = results["imgs"][0].shape[:2]
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

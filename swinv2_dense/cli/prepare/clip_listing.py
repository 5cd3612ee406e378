"""Lists of clips for training and testing, from folders of clips, without those that cannot be used."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from swinv2_dense.checks.clips import read_class_names
from swinv2_dense.datasets.clip_decoding import ClipReader
from swinv2_dense.errors import UserError
from swinv2_dense.files import files_below, shown, write_text
from swinv2_dense.progress import Progress, silent
from swinv2_dense.suffixes import CLIPS
from swinv2_dense.suggestions import nearest

__all__ = ["Clip", "check_clip", "find_clips", "other_files", "read_label_map", "write_lists"]


@dataclass(frozen=True)
class Clip:
    """``name``: path below the folder of a split, with forward slashes. ``problem``: why it is left out, or None."""

    name: str
    label: int
    problem: str | None = None


def read_label_map(path: Path) -> dict[str, int]:
    """Class name -> label, from a file with a class per line.

    Raises:
        UserError: no such file, not UTF-8, empty, or a class twice.
    """
    if not path.is_file():
        raise UserError(
            f"label map {path} does not exist: give --label-map FILE, a class name per line, the first being label 0"
        )
    names = [_plain(name) for name in read_class_names(path)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"label map {path} has the class {twice[0]!r} twice")
    return {name: label for label, name in enumerate(names)}


def find_clips(folder: Path, labels: Mapping[str, int]) -> list[Clip]:
    """All clips ``folder``/CLASS/NAME, unchecked, by name, also those in subfolders of a class. Folders may spell a
    class with underscores or spaces.

    Raises:
        UserError: no clips, or a folder that is no class.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist: it should hold a folder of clips for every class")
    clips = []
    for kind in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        label = labels.get(_plain(kind.name))
        if label is None:
            close = nearest(_plain(kind.name), labels)
            hint = f", the closest is {close!r}" if close else ""
            raise UserError(f"folder {kind} is no class of the label map{hint}: rename it, or take it away")
        clips += [Clip(name, label) for name in sorted(_files(kind, folder)) if name.lower().endswith(CLIPS)]
    if clips and (beside := [path.name for path in folder.iterdir() if path.name.lower().endswith(CLIPS)]):
        raise UserError(
            f"{len(beside)} clips lie in {folder} itself, the first {shown(min(beside))}, and would be left out: move "
            "each into the folder of its class, or take them away"
        )
    if not clips:
        raise UserError(f"{folder} holds no clips: they are expected at {folder}/CLASS/NAME.mp4")
    return clips


def other_files(folder: Path) -> list[str]:
    """Files below a folder that are no videos by their suffix, by name; dot files aside."""
    return sorted(name for name in _files(folder, folder) if not name.lower().endswith(CLIPS))


def _files(folder: Path, root: Path) -> Iterator[str]:
    """Files below a folder as paths from ``root`` on, but for dot files and those in dot folders."""
    return (path.relative_to(root).as_posix() for path in files_below(folder))


def check_clip(folder: Path, min_frames: int, clip: Clip) -> Clip:
    """Decode the first, the middle and the last frame; returns the clip with what is wrong with it, if anything is."""
    path = folder / clip.name
    if any(character in clip.name for character in "\n\r") or clip.name != clip.name.strip():
        return Clip(clip.name, clip.label, "its name has a line break or a space at the end, which no list can hold")
    try:
        clip.name.encode()
    except UnicodeEncodeError:
        return Clip(clip.name, clip.label, "its name is no UTF-8, in which lists are written")
    try:
        status = path.stat()
    except OSError:
        return Clip(clip.name, clip.label, "a link to nothing, or it cannot be read")
    if not stat.S_ISREG(status.st_mode):
        return Clip(clip.name, clip.label, "not a regular file")
    if status.st_size == 0:
        return Clip(clip.name, clip.label, "empty file")
    try:
        reader = ClipReader(str(path))
        frames = len(reader)
        if frames >= max(1, min_frames):
            reader.read(np.linspace(0, frames - 1, 3).astype(int))
            return clip
        problem = f"{frames} frame{'s' * (frames != 1)}, fewer than {min_frames}"
    except (OSError, ValueError) as error:
        problem = f"unreadable: {error}"
    return Clip(clip.name, clip.label, problem)


def write_lists(
    folder: Path,
    clips: Sequence[Clip],
    list_file: Path | None,
    *,
    min_frames: int,
    workers: int,
    progress: Progress = silent,
) -> list[Clip]:
    """Check clips and write the good ones' "path label" lines to ``list_file``, if it is given; return the others.

    Raises:
        UserError: no clip is left.
    """
    checked = []
    with ProcessPoolExecutor(workers) as pool:
        for clip in pool.map(partial(check_clip, folder, min_frames), clips, chunksize=16):
            checked.append(clip)
            progress(folder.name, len(checked), len(clips))
    good = [clip for clip in checked if clip.problem is None]
    bad = [clip for clip in checked if clip.problem is not None]
    if not good:
        raise UserError(
            f"none of the {len(clips)} clips in {folder} can be used, the first, {bad[0].name}: {bad[0].problem}"
        )
    if list_file is not None:
        write_text(list_file, "".join(f"{clip.name} {clip.label}\n" for clip in good))
    return bad


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())

"""Clips from a list file. Importing this module imports mmaction2, repaired where needed; configs name it."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from mmengine.logging import print_log

# First of all, also in a worker process that was not forked: mmaction2's last release does not import by itself.
import swinv2_dense.compat.mmaction_imports  # noqa: F401
from swinv2_dense.checks.clips import read_clip_list
from swinv2_dense.errors import UserError
from swinv2_dense.registry import DATASETS

# isort: split
from mmaction.datasets import VideoDataset
from mmaction.datasets.transforms import OpenCVDecode, OpenCVInit, PyAVDecode, PyAVInit

from swinv2_dense.datasets.clip_decoding import DecodeClip, OpenClip

__all__ = ["VideoClips"]

_READERS = (OpenClip, DecodeClip, OpenCVInit, OpenCVDecode, PyAVInit, PyAVDecode)
# What they raise for a file that is missing, empty, cut off or no video. Anything else is a mistake in the config.
_BROKEN = (OSError, RuntimeError, ValueError)
_UNTRIED, _READ, _UNREADABLE = range(3)
_ENOUGH = 1000  # clips: a share of fewer is chance


class _UnreadableClip(Exception):
    """A clip that cannot be decoded; the message is the decoder's first line."""


@DATASETS.register_module()
class VideoClips(VideoDataset):
    """mmaction2's VideoDataset, whose training does not end with the first clip that cannot be decoded.

    In training another clip, chosen at random, takes the place of one that cannot be decoded. The log names each such
    clip once, and says how many there are so far, counted over all workers of this rank. In testing it is an
    error at once, because a score on fewer clips is another score.

    A line of ``ann_file`` is a path below ``data_prefix['video']``, which may hold spaces, and a label, separated by
    spaces or a tab.

    Args:
        num_classes: labels are 0 to ``num_classes - 1``.
        max_unreadable: share of clips tried so far, from which on training ends with an error. Of a data set's first
            1000 clips as many are let pass as this share of 1000 (or of the whole, if it is smaller).

    Raises:
        UserError: a line that is not "path label", a label out of range, or more unreadable clips than allowed.
    """

    def __init__(self, *args: Any, num_classes: int = 400, max_unreadable: float = 0.05, **kwargs: Any) -> None:
        self.max_unreadable = max_unreadable
        super().__init__(*args, num_classes=num_classes, **kwargs)

    def full_init(self) -> None:
        """Read the list, and make room to note every clip's state where all workers see it."""
        if not self._fully_initialized:
            super().full_init()
            self.states = torch.full((len(self),), _UNTRIED, dtype=torch.uint8).share_memory_()

    def load_data_list(self) -> list[dict[str, Any]]:
        folder = self.data_prefix["video"]
        entries = read_clip_list(self.ann_file, self.num_classes, delimiter=self.delimiter, prefix=folder)
        return [{"filename": os.path.join(folder, name), "label": label} for name, label in entries]

    def prepare_data(self, idx: int) -> dict[str, Any] | None:
        """A clip, processed; None for one that cannot be decoded, so that mmengine asks for another."""
        entry = self.get_data_info(idx)
        try:
            data = self._process(entry)
        except _UnreadableClip as error:
            self._skip(idx, entry["filename"], str(error))
            return None
        self.states[idx] = _READ
        return data

    def _process(self, data: dict[str, Any] | None) -> dict[str, Any] | None:
        """The pipeline, with what goes wrong in reading kept apart from what goes wrong elsewhere."""
        for transform in self.pipeline.transforms:
            if isinstance(transform, _READERS):
                try:
                    data = transform(data)
                except _BROKEN as error:
                    raise _UnreadableClip(str(error).strip().splitlines()[0]) from error
                if data is not None and data["total_frames"] == 0:
                    raise _UnreadableClip("no frames")
            else:
                data = transform(data)
            if data is None:
                return None
        return data

    def _skip(self, idx: int, path: str, reason: str) -> None:
        if self.test_mode:
            raise UserError(
                f"clip {path} cannot be decoded ({reason}): replace it, or take it out of {self.ann_file}, as "
                "swinv2 prepare kinetics400 does"
            )
        if self.states[idx] == _UNREADABLE:
            return
        self.states[idx] = _UNREADABLE
        unreadable, tried = (int((self.states >= state).sum()) for state in (_UNREADABLE, _READ))
        if unreadable > self.max_unreadable * max(tried, min(len(self.states), _ENOUGH)):
            raise UserError(
                f"{unreadable} of {tried} clips cannot be decoded, more than max_unreadable={self.max_unreadable} "
                f"allows, the last is {path} ({reason}): swinv2 prepare kinetics400 writes a list without them"
            )
        print_log(
            f"skipped clip {path}, which cannot be decoded ({reason}); {unreadable} of {tried} so far",
            logger="current",
            level=logging.WARNING,
        )

"""Whether images can be decoded as training does, looked at by several processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from swinv2_dense.checks.images import read_header
from swinv2_dense.errors import UserError
from swinv2_dense.progress import Progress, silent

__all__ = ["broken_images"]


def _problem(folder: str, name: str) -> str | None:
    """What is wrong with an image in a few words, None if nothing is."""
    path = Path(folder, name)
    try:
        if not path.is_file():
            return "is no regular file"
        if not path.stat().st_size:
            return "is empty"
        deep = read_header(path, pixels=True).deep
    except UserError as error:
        reason = str(error.__cause__ or error) or type(error.__cause__).__name__
        return f"cannot be decoded ({reason.splitlines()[0][:80]})"
    return (
        "has more than 8 bits per channel, of which loading keeps the upper 8: convert it to 8 bits" if deep else None
    )


def broken_images(
    folder: str | os.PathLike[str],
    names: Sequence[str],
    *,
    workers: int = 0,
    progress: Progress = silent,
) -> list[tuple[str, str]]:
    """Names of images in ``folder`` that cannot be used, each with what is wrong. Every image is decoded wholly.

    Args:
        workers: processes; 0 for this one.
    """
    check = partial(_problem, str(folder))
    broken = []
    with ProcessPoolExecutor(workers) if workers else nullcontext() as pool:
        problems = pool.map(check, names, chunksize=32) if pool is not None else map(check, names)
        for done, (name, problem) in enumerate(zip(names, problems, strict=True), start=1):
            if problem is not None:
                broken.append((name, problem))
            progress("decoding", done, len(names))
    return broken

"""Whether images can be decoded, looked at by several processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from PIL import Image

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
        with Image.open(path) as image:
            image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"cannot be decoded ({str(error).splitlines()[0][:80] if str(error) else type(error).__name__})"
    return None


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

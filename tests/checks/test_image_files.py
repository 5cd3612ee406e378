"""Every kind of broken image is found and named, in this process and in others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinv2_dense.checks.image_files import broken_images


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_images_are_listed_with_what_is_wrong(tmp_path: Path, workers: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "good.png")
    Image.fromarray(noise[..., 0]).convert("LA").save(tmp_path / "grey_alpha.png")
    Image.fromarray(noise).save(tmp_path / "cut.jpg")
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "folder.jpg").mkdir()
    Image.fromarray(noise[..., 0].astype(np.uint16) * 256).save(tmp_path / "deep.png")  # which training refuses
    names = ["good.png", "grey_alpha.png", "cut.jpg", "empty.jpg", "text.jpg", "folder.jpg", "deep.png"]
    done: list[int] = []
    found = dict(broken_images(tmp_path, names, workers=workers, progress=lambda step, at, total: done.append(at)))
    assert list(found) == names[2:]
    assert "cannot be decoded" in found["cut.jpg"] and "cannot be decoded" in found["text.jpg"]
    assert found["empty.jpg"] == "is empty"
    assert found["folder.jpg"] == "is no regular file"
    assert found["deep.png"].startswith("has more than 8 bits per channel")
    assert done == [1, 2, 3, 4, 5, 6, 7]

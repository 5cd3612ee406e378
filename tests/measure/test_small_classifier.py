"""Crops by hand, images in memory, a schedule that learns what can be learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swinv2_dense.errors import UserError
from swinv2_dense.measure.small_classifier import (
    Classifier,
    Images,
    Training,
    accuracy,
    fit,
    normalised,
    random_crops,
    read_images,
)

ARCH = dict(embed_dims=8, depths=(1, 1), num_heads=(1, 2))


def coloured(n: int, side: int = 32) -> Images:
    """Classes that a mean colour tells apart."""
    labels = torch.arange(n) % 2
    pixels = torch.randint(0, 100, (n, 3, side, side), generator=torch.Generator().manual_seed(n))
    pixels[labels == 1, 0] += 120
    return Images(pixels.byte(), labels, ("blue", "red"))


def folder(path: Path, n: int = 4) -> Path:
    images = coloured(n)
    for i, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        place = path / images.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(place / f"{i}.png")
    return path


def test_reads_central_squares_with_labels_in_order(tmp_path: Path) -> None:
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 6:14] = (10, 20, 30)
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        Image.fromarray(wide if name == "b" else wide + 100).save(tmp_path / name / "x.png")
    images = read_images(tmp_path, 8)
    assert images.classes == ("a", "b") and images.labels.tolist() == [0, 1]
    assert images.pixels.shape == (2, 3, 8, 8)
    assert (images.pixels[1] == torch.tensor([10, 20, 30], dtype=torch.uint8)[:, None, None]).all()
    assert images.resized(4).pixels.shape == (2, 3, 4, 4)


def test_what_is_no_data_set_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds 0 class folders"):
        read_images(tmp_path / "none", 8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"x\.jpg cannot be decoded"):
        read_images(tmp_path, 8)
    (tmp_path / "a" / "x.jpg").unlink()
    with pytest.raises(UserError, match="holds no images"):
        read_images(tmp_path, 8)


def test_a_crop_of_everything_is_the_image_or_its_mirror() -> None:
    pixels = coloured(6).pixels
    crops = random_crops(pixels, 32, (1.0, 1.0), torch.Generator().manual_seed(0))
    whole = normalised(pixels)
    mirrored = [torch.allclose(c, w.flip(-1), atol=1e-4) for c, w in zip(crops, whole, strict=True)]
    assert any(mirrored) and not all(mirrored)
    for crop, image, is_mirrored in zip(crops, whole, mirrored, strict=True):
        assert is_mirrored or torch.allclose(crop, image, atol=1e-4)


def test_a_subset_keeps_a_share_of_every_class() -> None:
    part = coloured(40).subset(0.1)
    assert sorted(part.labels.tolist()) == [0, 0, 1, 1]


def test_training_learns_and_is_repeatable() -> None:
    images, results = coloured(64), []
    for _ in range(2):
        torch.manual_seed(0)
        model = Classifier(2, arch=ARCH, window_size=4)
        losses = fit(model, images, 32, Training(epochs=6, lr=3e-3, batch=16, warmup=1), seed=1)
        results.append((losses, accuracy(model, coloured(30))))
    assert len(results[0][0]) == 24
    assert results[0] == results[1]
    assert results[0][1] == 100.0

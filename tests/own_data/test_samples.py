"""The split keeps every class in training and comes out the same every time."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from PIL import Image, PngImagePlugin

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.samples import Sample, image_size, split_samples


def test_a_fifth_drawn_at_random_and_every_class_is_trained_on() -> None:
    samples = [Sample(Path(f"{n}.jpg"), ["common"] + (["rare"] if n == 7 else [])) for n in range(50)]
    for seed in range(20):
        splits = split_samples(samples, seed)
        assert (len(splits["train"]), len(splits["val"])) == (40, 10)
        assert any("rare" in sample.classes for sample in splits["train"])
        assert splits == split_samples(samples, seed)
    assert split_samples(samples, 0) != split_samples(samples, 1)


def test_few_samples() -> None:
    each = [Sample(Path(name), [name]) for name in "abc"]
    assert {k: len(v) for k, v in split_samples(each, 0).items()} == {"train": 2, "val": 1}
    with pytest.raises(UserError, match="1 samples cannot be split"):
        split_samples(each[:1], 0)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"a\.jpg is no image"):
        image_size(tmp_path / "a.jpg")


def test_copies_of_an_image_stay_together() -> None:
    names = [f"{n}_jpg.rf.{copy}.jpg" for n in range(10) for copy in ("1f", "2e", "3d")]
    samples = [Sample(Path("images", name), ["cat"]) for name in names]
    for seed in range(20):
        splits = split_samples(samples, seed)
        train, val = ({sample.path.name.split(".rf.")[0] for sample in splits[split]} for split in ("train", "val"))
        assert not train & val
        assert (len(splits["train"]), len(splits["val"])) == (24, 6)
    with pytest.raises(UserError, match="all 3 samples are copies of 0_jpg"):
        split_samples(samples[:3], 0)
    assert len(split_samples(samples[:6], 0)["val"]) == 3


@pytest.mark.parametrize("kind", ["jpg", "webp", "png"])
def test_a_size_is_what_opencv_decodes(tmp_path: Path, kind: str) -> None:
    """An orientation in XMP alone is not followed, one in EXIF is."""
    turned = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    turned += (
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", turned.decode())
    for options in ({"exif": exif}, {"xmp": turned, "pnginfo": info}):
        path = tmp_path / f"a.{kind}"
        Image.new("RGB", (60, 40)).save(path, **options)
        decoded = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert decoded is not None
        assert image_size(path) == decoded.shape[:2]

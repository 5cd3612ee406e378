"""swinv2 predict: what it writes, what it prints, and its exit status."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from swinv2_dense.cli.main import main
from tests.inference.conftest import Run

RunOf = Callable[[str], Run]


def test_a_folder(run_of: RunOf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    options = ["--out", str(out), "--score", "0", "--device", "cpu", "--batch", "2"]
    assert main(["predict", str(run_of("detection").checkpoint), str(folder), *options]) == 0
    said = capsys.readouterr()
    assert "3 predicted in" in said.out
    assert "OneDL" not in said.out + said.err
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.jpg")) == ["a.jpg", "below/b.jpg", "c.jpg"]
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert {"image_id", "category_id", "bbox", "score", "segmentation"} <= set(lines[0])
    assert len(lines) == 15


def test_ids_are_unique(run_of: RunOf, folder: Path, tmp_path: Path) -> None:
    """Numbers as COCO's where no other file has that number; else the path, whatever the order of the sources."""
    sources = []
    for name in ("7.png", "8.png", "x/8.png", "x/b.png", "y/b.png", "y/0009.png", "y/9.jpg"):
        path = tmp_path / "shots" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "a.png", path)
        sources.append(str(path))
    given = ([str(tmp_path / "shots")], sources, sources[::-1])
    for number, argv in enumerate(given):
        out = tmp_path / str(number)
        assert main(["predict", str(run_of("segmentation").checkpoint), *argv, "--out", str(out)]) == 0
        lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
        ids = {line["file_name"]: line["image_id"] for line in lines}
        assert ids == {source: 7 if source.endswith("7.png") else source for source in sources}
        assert len(list(out.glob("**/*.jpg"))) == len(sources)


def test_drawings_of_an_earlier_run_are_named(
    run_of: RunOf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of a file that is not read now; but neither a source nor what a folder held before any prediction."""
    out = tmp_path / "out"
    out.mkdir()
    cv2.imwrite(str(out / "mine.png"), np.zeros((60, 80, 3), np.uint8))
    argv = ["predict", str(run_of("segmentation").checkpoint), "--out", str(out)]
    assert main([*argv, str(folder)]) == 0
    assert "also holds" not in capsys.readouterr().out
    assert main([*argv, str(folder), str(out / "mine.png")]) == 0
    assert "also holds" not in capsys.readouterr().out
    (folder / "a.png").write_bytes(b"broken")
    assert main([*argv, str(folder)]) == 1
    left = f"{out} also holds 5 drawings that are not of this run, such as {out / 'a.jpg'}\n"
    assert capsys.readouterr().out.endswith(left)


def test_the_unreadable_are_named_and_counted(
    run_of: RunOf,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "broken.png").write_bytes(b"broken")
    options = ["--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["predict", str(run_of("detection").checkpoint), str(folder), *options]) == 1
    said = capsys.readouterr()
    assert "not read: " in said.out
    assert "broken.png cannot be decoded" in said.out
    assert said.err.endswith("error: 1 of 4 could not be read, listed above\n")
    assert (tmp_path / "out" / "predictions.jsonl").is_file()


def test_maps(run_of: RunOf, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copy(folder / "a.png", tmp_path / "a.png")  # a second one of that name
    sources = [str(folder / "a.png"), str(tmp_path / "a.png")]
    assert main(["predict", str(run_of("segmentation").checkpoint), *sources, "--out", str(out), "--tile", "48"]) == 0
    maps = [cv2.imread(str(out / "maps" / name), cv2.IMREAD_UNCHANGED) for name in ("a.png", "a_2.png")]
    assert maps[0].shape == (60, 80)
    assert maps[0].max() < 7
    assert np.array_equal(*maps)


def test_drawings_take_no_source_s_place(
    run_of: RunOf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    source = folder / "street.jpg"
    cv2.imwrite(str(source), np.full((60, 80, 3), 7, np.uint8))
    content = source.read_bytes()
    checkpoint = str(run_of("segmentation").checkpoint)
    for argv in (
        ["street.jpg", "--out", "."],
        [".", "--out", str(folder)],
        ["a.png", "street.jpg", "--out", "below/.."],
    ):
        assert main(["predict", checkpoint, *argv]) == 1
        assert "street.jpg would be written over a source" in capsys.readouterr().err
    assert source.read_bytes() == content
    assert main(["predict", checkpoint, "below", "--out", "."]) == 0  # below/b.png is drawn as b.jpg


def test_drawings_of_an_earlier_run_are_not_predicted_on(
    run_of: RunOf, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "drawn"
    for source in (folder, folder, f"{folder}/**/*.png"):
        assert main(["predict", str(run_of("segmentation").checkpoint), str(source), "--out", str(out)]) == 0
        assert "3 predicted in" in capsys.readouterr().out


def test_a_file_of_several_sources_is_predicted_on_once(run_of: RunOf, folder: Path, tmp_path: Path) -> None:
    sources = [str(folder), str(folder / "a.png"), f"{folder}/below/../*.png"]
    assert main(["predict", str(run_of("segmentation").checkpoint), *sources, "--out", str(tmp_path / "out")]) == 0
    assert len((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()) == 3


def test_a_video(run_of: RunOf, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["predict", str(run_of("detection").checkpoint), str(video), "--out", str(out), "--score", "0"]) == 0
    capture = cv2.VideoCapture(str(out / "clip.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    frames = [json.loads(line)["frame"] for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert sorted(set(frames)) == list(range(6))
    assert main(["predict", str(run_of("video").checkpoint), str(video), "--out", str(out)]) == 0
    assert json.loads((out / "predictions.jsonl").read_text())["top"]
    assert (out / "clip.jpg").is_file()


def test_a_camera_is_predicted_on_until_it_is_interrupted(
    run_of: RunOf, image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was predicted until then is kept; of a file's video nothing is."""

    class Capture:
        def __init__(self, source: Any) -> None:
            self.number, self.frames = 0, 0.0 if isinstance(source, int) else 99.0

        def get(self, what: int) -> float:
            return {cv2.CAP_PROP_FRAME_COUNT: self.frames, cv2.CAP_PROP_FPS: 10.0}.get(what, 0.0)

        def read(self) -> tuple[bool, np.ndarray]:
            self.number += 1
            if self.number == 4:
                raise KeyboardInterrupt
            return True, image

        def release(self) -> None:
            pass

    run, out, opened = run_of("detection"), tmp_path / "out", cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    assert main(["predict", str(run.checkpoint), "0", "--out", str(out)]) == 0
    assert opened(str(out / "camera0.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2  # the third waits
    (tmp_path / "clip.mp4").touch()
    assert main(["predict", str(run.checkpoint), str(tmp_path / "clip.mp4"), "--out", str(tmp_path / "none")]) == 130
    assert not [path.name for path in (tmp_path / "none").iterdir()]


def test_mistakes(run_of: RunOf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, there = run_of("detection"), str(folder)
    for argv, part in [
        ([str(run.checkpoint), "gone.jpg"], "gone.jpg does not exist"),
        ([str(run.weights), there], "--config NAME"),
        (["gone.pth", there], "checkpoint gone.pth does not exist"),
        ([str(run.checkpoint), there, "--classes", "circel"], "did you mean 'circle'?"),
        ([str(run.checkpoint), there, "--batch", "0"], "batch 0"),
        ([str(run.checkpoint), there, "--out", str(folder / "a.png")], "--out"),
    ]:
        assert main(["predict", *argv]) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert part in said

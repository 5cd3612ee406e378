"""swinv2 explain: what it writes and prints for every task, and one line for every mistake."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from swinv2_dense.cli import explain
from swinv2_dense.cli.main import main
from tests.inference.conftest import Run

RunOf = Callable[[str], Run]


@pytest.mark.parametrize("task", ["classification", "segmentation", "detection"])
def test_an_image(task: str, run_of: RunOf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "out"
    argv = [str(run_of(task).checkpoint), str(folder / "a.png"), "--out", str(out), "--device", "cpu"]
    assert main(["explain", *argv]) == 0
    said = capsys.readouterr()
    assert "OneDL" not in said.out + said.err
    assert sorted(path.name for path in out.iterdir()) == ["a_biases.png", "a_cam.png", "a_windows.png"]
    assert all(cv2.imread(str(path)).std() > 10 for path in out.iterdir())
    lines = said.out.splitlines()
    assert [line[:7] for line in lines if line.startswith("stage")] == ["stage 0", "stage 1", "stage 2", "stage 3"]
    assert lines[-1] == f"drawn: a_cam.png, a_windows.png, a_biases.png in {out}"


def test_a_class_a_stage_and_a_token(
    run_of: RunOf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = str(folder / "a.png"), ["--out", str(tmp_path / "out")]
    argv = ["explain", str(run_of("segmentation").checkpoint), image, *out]
    capsys.readouterr()  # of making the checkpoint
    assert main([*argv, "--class", "Tree", "--stage", "1", "--token", "6", "3", "--window", "4", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tree: ")
    assert lines[1:3] == [  # of 8 x 10 tokens
        "stage 1, token 6, 3:",
        "  block 0: windows of 4 x 5; attends in rows 4 to 7, columns 0 to 4",
    ]
    assert main([*argv, "--class", "2", "--stage", "3", "0", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("sea: ")
    assert [line[:7] for line in lines if line.startswith("stage")] == ["stage 0", "stage 3"]


def test_a_clip(run_of: RunOf, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    argv = ["explain", str(run_of("video").checkpoint), str(video), "--out", str(out)]
    assert main([*argv, "--stage", "1", "--token", "1", "7", "2"]) == 0
    said = capsys.readouterr().out
    assert "block 0: windows of 2 x 4 x 4; attends in times 0 to 1, rows 4 to 7, columns 0 to 3" in said
    assert len(list(out.iterdir())) == 3


def test_images_of_one_name_do_not_replace_each_other(
    run_of: RunOf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "other" / "below").mkdir(parents=True)
    for place in ("other/b.png", "other/below/b.png"):
        cv2.imwrite(str(folder / place), np.full((40, 60, 3), 99, np.uint8))
    out = tmp_path / "out"
    sources = [str(folder / name) for name in ("below/b.png", "other/b.png", "other")]
    assert main(["explain", str(run_of("classification").checkpoint), *sources, "--out", str(out), "--stage", "0"]) == 0
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*_cam.png"))
    assert written == ["b_2_cam.png", "b_cam.png", "below/b_cam.png"]  # the third source holds the second
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith("b.png:")]
    assert len(lines) == 4


def test_a_config_that_predicts_in_crops_is_said(
    run_of: RunOf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of("segmentation")
    config = tmp_path / "slide.py"
    config.write_text(
        run.config.read_text().replace('mode="whole"', 'mode="slide", crop_size=(32, 32), stride=(16, 16)')
    )
    argv = ["explain", str(run.weights), str(folder / "a.png"), "--config", str(config), "--out", str(tmp_path / "out")]
    assert main(argv) == 0
    assert "predicts in crops of (32, 32); explained is the image as a whole" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("task", "argv", "part"),
    [
        ("classification", ["IMAGE", "--class", "brid"], "--class: there is no class 'brid': did you mean 'bird'?"),
        ("classification", ["IMAGE", "--class", "zebra"], "give its number, from 0 on"),
        ("classification", ["IMAGE", "--class", "3"], "there is no class 3: this model has classes 0 to 2"),
        ("segmentation", ["IMAGE", "--class", "7"], "there is no class 7: this model has classes 0 to 6"),
        ("detection", ["IMAGE", "--class", "4"], "there is no class 4: this model has classes 0 to 3"),
        ("detection", ["IMAGE", "--stage", "4"], "there is no stage 4: this backbone has stages 0 to 3"),
        ("detection", ["IMAGE", "--stage", "-1"], "there is no stage -1"),
        ("detection", ["IMAGE", "--token", "1", "1"], "name that stage, --stage N"),
        ("detection", ["IMAGE", "--stage", "0", "1", "--token", "1", "1"], "name that stage, --stage N"),
        ("segmentation", ["IMAGE", "--stage", "1", "--token", "8", "0"], "the map of stage 1 is 8 x 10 tokens"),
        ("segmentation", ["IMAGE", "--stage", "1", "--token", "1"], "give 2 numbers from 0 on below these"),
        ("detection", ["gone.jpg"], "gone.jpg does not exist"),
        ("detection", ["EMPTY"], "empty has no images or videos in it"),
        ("detection", ["NOTES"], "notes.txt cannot be decoded: it is truncated or no image"),
        ("detection", ["VIDEO"], "clip.mp4 is a video: a model of detection needs an image"),
        ("video", ["IMAGE"], "a.png is an image: a model of video needs a video"),
        ("video", ["gone.mp4"], "gone.mp4 does not exist"),
        ("simmim", ["IMAGE"], "a model of SimMIM knows no classes to explain"),
        ("detection", ["IMAGE", "--out", "NOTES"], "--out"),
        ("detection", ["IMAGE", "--device", "gpu"], "device 'gpu' cannot be used"),
    ],
)
def test_mistakes(
    task: str,
    argv: list[str],
    part: str,
    run_of: RunOf,
    folder: Path,
    video: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    places = {"IMAGE": "a.png", "EMPTY": "empty", "NOTES": "notes.txt", "VIDEO": str(video)}
    assert main(["explain", str(run_of(task).checkpoint), *(places.get(word, word) for word in argv)]) == 1
    said = capsys.readouterr()
    (line,) = (line for line in said.err.splitlines() if line.startswith(("error", "Traceback")))
    assert line.startswith("error: ")
    assert part in line
    assert not list(folder.rglob("*_cam.png"))


def test_checkpoints_that_are_no_models(
    run_of: RunOf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights alone, a backbone's weights for a whole model, a clip that is none."""
    import torch

    monkeypatch.chdir(tmp_path)
    run, image = run_of("classification"), str(folder / "a.png")
    state = torch.load(run.weights)["state_dict"]
    torch.save({key.removeprefix("backbone."): value for key, value in state.items() if "backbone" in key}, "part.pth")
    Path("clip.mp4").write_text("no video")
    for argv, part in [
        ([str(run.weights), image], "--config NAME"),
        (["part.pth", image], "--config NAME"),
        (["part.pth", image, "--config", str(run.config)], "head.fc.weight"),
        ([str(run_of("video").checkpoint), "clip.mp4"], "clip.mp4 cannot be decoded"),
    ]:
        assert main(["explain", *argv]) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1
        assert part in said


def test_a_folder_that_may_not_be_written(
    run_of: RunOf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    argv = [str(run_of("classification").checkpoint), str(folder / "a.png"), "--out", str(tmp_path)]
    assert main(["explain", *argv]) == 1
    assert "nothing may be written in this folder" in capsys.readouterr().err


def test_classes_that_differ_in_case_alone() -> None:
    assert [explain._label(name, ("cat", "Cat", "Dog")) for name in ("cat", "Cat", "dog", "2")] == [0, 1, 2, 2]

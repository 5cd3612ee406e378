"""tools/prepare/coco.py and tools/browse.py: what they print, what they write, and their exit status."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("mmdet", reason="needs the det extra")

from swinv2_dense.cli.common import run
from swinv2_dense.demo.shapes_coco import write_shapes_coco
from tests.tiny import tool as commands

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return commands("prepare/coco")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_shapes_coco(tmp_path / "data", train=2, val=1, side=48)
    return tmp_path / "data"


def test_sound_data_are_in_order(tool: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: tool.main(["check", str(root), "--deep"])) == 0
    said = capsys.readouterr()
    assert "train2017: 2 images (0 without annotations), " in said.out
    assert said.out.endswith(f"{root} is in order\n")
    assert said.err == ""


def test_problems_are_listed_up_to_a_limit_and_end_with_status_1(
    tool: ModuleType, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "SHOWN", 1)
    for picture in (root / "train2017").iterdir():
        picture.unlink()
    assert run(lambda: tool.main(["check", str(root)])) == 1
    said = capsys.readouterr()
    assert "  problem: missing file (2)\n    train2017/000000000001.jpg: image 1\n    ... and 1 more" in said.out
    assert said.err == f"error: {root}: 2 problems, listed above\n"
    assert run(lambda: tool.main(["check", str(root), "--all"])) == 1
    assert "000000000002.jpg: image 2" in capsys.readouterr().out


def test_a_single_file_may_end_in_capitals(tool: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = (root / "annotations" / "instances_val2017.json").rename(root / "VAL.JSON")
    assert run(lambda: tool.main(["check", str(file), "--images", str(root / "val2017")])) == 0
    assert run(lambda: tool.main(["check", str(file)])) == 1
    assert f"{file} is one annotation file: name the folder of its images by --images" in capsys.readouterr().err


def test_notes_alone_are_no_problem(tool: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "stuffthingmaps").rename(root / "elsewhere")
    assert run(lambda: tool.main(["check", str(root)])) == 0
    assert "  note: missing (1)\n    stuffthingmaps/train2017: only the semantic branch" in capsys.readouterr().out


def test_maps_and_paths_are_written(tool: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "stuffthingmaps").rename(root / "elsewhere")
    tool.main(["stuffthingmaps", str(root), "--splits", "val2017"])
    assert [path.name for path in (root / "stuffthingmaps" / "val2017").iterdir()] == ["000000000001.png"]
    file, out = root / "annotations" / "instances_val2017.json", root / "out.json"
    tool.main(["objects365", str(file), "--images", str(root), "--out", str(out)])
    assert (root / json.loads(out.read_text())["images"][0]["file_name"]).is_file()
    assert "wrote 1 maps" in capsys.readouterr().out
    arguments = ["objects365", str(file), "--images", str(root / "annotations"), "--out", str(root / "other.json")]
    assert run(lambda: tool.main(arguments)) == 1
    assert "lacks 1 of 1 images" in capsys.readouterr().err
    content = json.loads(file.read_text())
    content["images"].append({**content["images"][0], "id": 9, "file_name": "gone.jpg"})
    file.write_text(json.dumps(content))
    tool.main(["objects365", str(file), "--images", str(root), "--out", str(root / "other.json"), "--drop-missing"])
    assert "left out, not on disk: gone.jpg" in capsys.readouterr().out


def test_browse_writes_pictures_into_the_work_dir(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHAPES_ROOT", str(root))
    browse, config = commands("browse"), str(ROOT / "configs" / "demo" / "htc_swinv2_demo.py")
    arguments = [config, "--number", "2", "--only", "RandomFlip", "--work-dir", str(tmp_path / "work")]
    assert run(lambda: browse.main(arguments)) == 0
    assert len(list((tmp_path / "work" / "browse").glob("*.jpg"))) == 2
    assert f"wrote 2 images to {tmp_path / 'work' / 'browse'}" in capsys.readouterr().out
    assert run(lambda: browse.main([config, "--number", "0"])) == 1
    assert "error: --number 0" in capsys.readouterr().err

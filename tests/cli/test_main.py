"""The front page, the version, suggestions and the help of every command, without waiting for torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import swinv2_dense
from swinv2_dense.cli import common
from swinv2_dense.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]


def python(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_front_page(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    page = capsys.readouterr().out
    assert "swinv2 demo --quick" in page
    assert all(f"\n  {command} " in page for command in COMMANDS)
    assert max(map(len, page.splitlines())) <= 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"swinv2_dense {swinv2_dense.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["trian", "x"], "unknown command 'trian': did you mean 'train'?"),
        (["prepare", "cooc"], "unknown command 'prepare cooc': did you mean 'prepare coco'?"),
        (["xyzzy"], "unknown command 'xyzzy': swinv2 --help lists the commands"),
        (["--versoin"], "unknown option --versoin: did you mean '--version'?"),
    ],
)
def test_unknown_commands(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 1
    assert capsys.readouterr().err == f"error: {line}\n"


def test_prepare_alone_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare"]) == 2
    assert main(["prepare", "--help"]) == 0
    assert capsys.readouterr().out.count("swinv2 prepare kinetics400") == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    page = capsys.readouterr().out
    assert page.startswith(f"usage: swinv2 {command}")
    assert f"\n  swinv2 {command}" in page[page.index("\nexample") :]


def test_pages_do_not_wait_for_torch() -> None:
    pages = (
        "from swinv2_dense.cli.main import main; main([]); main(['--version']); main(['models', 'htc'])\n"
        "import sys; print(sorted({'torch', 'mmengine', 'mmdet'} & set(sys.modules)))\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    told = python(pages).splitlines()
    assert "[]" in told
    assert told[-1] == "False"


def test_importing_the_package_imports_no_library_and_still_registers() -> None:
    """``custom_imports = dict(imports=['swinv2_dense'])`` in a config of any of the host libraries."""
    code = (
        "import sys, swinv2_dense\n"
        "print(sorted({'torch', 'mmengine', 'numpy', 'rich'} & set(sys.modules)))\n"
        "from mmengine.registry import MODELS\n"
        "print(MODELS.get('swinv2_dense.SwinTransformerV2').__name__)\n"
        "print('swinv2_dense.VideoSwinTransformerV2' in MODELS)\n"
        "from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2\n"
        "print(sorted({'mmdet', 'mmseg', 'mmaction', 'mmpretrain'} & set(sys.modules)))\n"
    )
    assert python(code).splitlines() == ["[]", "SwinTransformerV2", "True", "[]"]


def test_python_m() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "swinv2_dense", "--version"], env=environment, capture_output=True)
    assert done.stdout.decode() == f"swinv2_dense {swinv2_dense.__version__}\n"


def test_a_reader_that_leaves_early_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", sys.stdout)
    assert common.run(write) == 1


def test_the_status_of_a_command_is_the_program_s() -> None:
    assert common.run(lambda: 3) == 3
    assert common.run(lambda: None) == 0
    assert common.run(lambda: {"metric": 0.5}) == 0


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("predict", "lower --batch, or predict in tiles"),
        ("test", "lower test_dataloader.batch_size"),
        ("explain", "make the image smaller"),
        ("train", "lower train_dataloader.batch_size"),
    ],
)
def test_a_full_gpu_is_answered_with_the_command_s_own_options(
    command: str, advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(argv: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(f"swinv2_dense.cli.{command}.main", full)
    assert main([command]) == 1
    assert capsys.readouterr().err.startswith(f"error: the GPU's memory is full: {advice}")

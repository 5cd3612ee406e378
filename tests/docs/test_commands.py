"""Every command that README and docs print runs as printed, page after page, each from an empty folder.

What a page prints is executed: lines of ``sh`` and ``console`` blocks, and ``python`` blocks, of which configs are read
as such. Commands of ours run in a forked child each, so that the libraries are imported once. Models and data are made
small, by exchanging functions of ours in the child, never by changing what is printed.

A block that cannot run here has a mark before it, ``<!-- needs download -->``; see NOT_RUN. Its commands are read by
their own parsers. ``<!-- needs data -->`` stands for files of the reader's, which are drawn under the printed names.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

from swinv2_dense.cli.main import COMMANDS, main
from swinv2_dense.config_files import CONFIGS
from swinv2_dense.demo.generated import put_image
from swinv2_dense.demo.own_data import KINDS, draw_own_data
from swinv2_dense.demo.shapes import draw_scene
from swinv2_dense.demo.shapes_coco import write_shapes_coco
from tests.inference.conftest import Run, run_of  # noqa: F401  a fixture
from tests.tiny import REPOSITORY

RunOf = Callable[[str], Run]

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
# What keeps a block from running here. names: the reader's own, in capitals; minutes: tests of demo, export
# and plan run the like in short.
NOT_RUN = {"needs browser", "needs cluster", "needs download", "needs gpu", "needs minutes", "needs names"}
MARKS = {"", "needs data", *NOT_RUN}
# Names of checkpoints that pages print -> the task of the tiny model that lies there.
CHECKPOINTS = {
    "work_dirs/demo/htc/iter_360.pth": "detection",
    "work_dirs/htc/epoch_36.pth": "detection",
    "work_dirs/demo/segmentation/upernet/iter_600.pth": "segmentation",
}
IMAGES = ("street.jpg", "images/00000001.jpg", "images/00000002.jpg", "data/photos/0001.jpg", "data/photos/0002.jpg")

_BLOCK = re.compile(r"(?:<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^(\$ )?(\w+=\S+ +)*(swinv2|make|pip|python|srun|\.venv/bin/swinv2|tools/\w+\.(py|sh)) ", re.M)
_SYNTAX = re.compile(r"[{}\[\]]|\.\.\.")  # a line that explains the syntax is no command
_TOOLS = {"benchmark": "bench"}  # programs that are not called as their command


class Block(NamedTuple):
    mark: str
    language: str
    text: str

    @property
    def lines(self) -> Iterator[str]:
        """The commands of a shell block, without comments; a console block's stand behind ``$``."""
        for line in re.sub(r"\\\n\s*", " ", self.text).splitlines():
            if self.language == "console" and not line.startswith("$ "):
                continue
            if text := re.sub(r"(\s#\s|\s{3,}|^#).*", "", line.strip().removeprefix("$ ")):
                yield text


def blocks(page: Path) -> list[Block]:
    return [Block(mark or "", language, text) for mark, language, text in _BLOCK.findall(page.read_text())]


def ours(line: str) -> list[str] | None:
    """The arguments of ``swinv2`` in a line, or None where it calls something else."""
    text = re.sub(r"^(\w+=\S+\s+)+", "", line)  # variables before the command
    called = re.match(r"(swinv2 |tools/([\w/]+)\.py ?)(.*)", text)
    if called is None:
        return None
    tool = called[2] or ""
    return [*_TOOLS.get(tool, tool).replace("/", " ").replace("_", "-").split(), *shlex.split(called[3])]


SHELL = [(page, block) for page in PAGES for block in blocks(page) if block.language in ("sh", "console")]
PARSED = [
    (page, line, words)
    for page, block in SHELL
    if block.mark in NOT_RUN
    for line in block.lines
    if (words := ours(line)) is not None and not _SYNTAX.search(line)
]
RUN = [page for page in PAGES if any(b.mark not in NOT_RUN and b.language for b in blocks(page))]


def test_marks_are_known_and_commands_stand_in_blocks_that_say_so() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert block.mark in MARKS, f"{page.name}: {block.mark}"
            assert block.language in ("", "sh", "console", "python", "bibtex"), page.name
            assert block.language or not _COMMAND.search(block.text), f"{page.name}: a shell block without sh"
    assert sum(block.mark not in NOT_RUN for _, block in SHELL) >= 15
    assert len({page for page, _ in SHELL}) > 15


@pytest.mark.parametrize(
    ("page", "line", "words"), PARSED, ids=[f"{page.stem}: {line}"[:80] for page, line, _ in PARSED]
)
def test_what_cannot_run_here_is_understood(
    page: Path, line: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    count = next((n for n in (2, 1) if " ".join(words[:n]) in COMMANDS), None)
    assert count, f"{page.name}: there is no command {words[0]!r}"
    command, argv = " ".join(words[:count]), words[count:]
    module = importlib.import_module(f"swinv2_dense.cli.{command.replace(' ', '.').replace('-', '_')}")
    if argv[:1] in (["--help"], ["--version"]) or not hasattr(module, "parse_args"):
        return
    code: object = 0
    try:
        module.parse_args(argv)
    except SystemExit as end:
        code = end.code
    assert code == 0, f"{page.name}: {line}: {capsys.readouterr().err}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs commands in forked children")
@pytest.mark.parametrize("page", RUN, ids=[page.relative_to(REPOSITORY).as_posix() for page in RUN])
def test_a_page_runs_as_printed(page: Path, tmp_path: Path, run_of: RunOf) -> None:  # noqa: F811
    for module in ("mmdet.apis", "mmseg.apis", "mmaction", "mmpretrain", "swinv2_dense.engine.runner.launch"):
        pytest.importorskip(module, reason="runs commands of every task")
    checkpoints = {name: run_of(task) for name, task in CHECKPOINTS.items() if name in page.read_text()}
    folder = tmp_path / "page"
    folder.mkdir()
    status = forked(lambda: session(page, folder, checkpoints), tmp_path / "log")
    assert status == 0, f"{page.name}:\n{(tmp_path / 'log').read_text()[-6000:]}"


def forked(work: Callable[[], int | None], log: Path | None = None) -> int:
    """The exit status of a child process that does ``work``; what it prints goes to ``log``."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status: int | None = 1
    torch.set_num_threads(1)  # makes torch's pool anew; two of its own threads doing so at once abort the process
    try:
        if log is not None:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 1)
            os.dup2(1, 2)
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  as long as the process
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)  # nothing of the test's own ends twice


def session(page: Path, folder: Path, checkpoints: dict[str, Run]) -> int:
    """Run the blocks of a page in ``folder``; a Python block finds the names of the ones before."""
    os.chdir(folder)
    cv2.setNumThreads(0)  # threads do not survive a fork
    small()
    (folder / "configs").symlink_to(CONFIGS)
    for name, run in checkpoints.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).symlink_to(run.checkpoint)
        if "work_dirs/htc/" in name:
            Path("work_dirs/htc/htc_swinv2_t.py").symlink_to(run.config)
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks(page)):
        if block.mark in NOT_RUN or not block.language:
            continue
        if block.mark == "needs data":
            draw(block.text)
        if block.language == "python":
            python(block.text, folder / f"block_{number}.py", names)
        elif block.language in ("sh", "console"):
            for line in block.lines:
                print(f"\n$ {line}", flush=True)
                words = ours(line)
                variables = dict(re.findall(r"(?<!\S)(\w+)=(\S+) ", line.partition("swinv2")[0]))
                run = (lambda argv=words: main(argv)) if words is not None else None
                os.environ.update(variables)
                status = forked(run) if run else subprocess.run(["bash", "-c", line], check=False).returncode
                used = os.times()
                print(f"[{used.children_user + used.children_system:.1f} s of the page so far]", flush=True)
                if status:
                    print(f"status {status}")
                    return 1
    return 0


def python(text: str, path: Path, names: dict[str, Any]) -> None:
    """Run a block, or read it where it is a config."""
    print(f"\n>>> {text}", flush=True)
    if re.search(r"^(_base_|custom_imports|optim_wrapper) =", text, re.MULTILINE):
        from mmengine.config import Config

        path.write_text(text)
        assert len(Config.fromfile(path)) > 0
    else:
        exec(compile(text, path.name, "exec"), names)


def draw(text: str) -> None:
    """Files of the reader's that a block names and that are not there yet."""
    for kind in KINDS:
        if f"my_{kind}" in text and not Path(f"my_{kind}").exists():
            draw_own_data(kind, Path(), quick=True)
    if "my_boxes.json" in text:
        Path("my_boxes.json").symlink_to("my_boxes/annotations/instances_train2017.json")
        Path("photos").symlink_to("my_boxes/train2017")
    if "work_dirs/demo/data" in text:
        write_shapes_coco("work_dirs/demo/data", train=1, val=5, side=64)
    for name in IMAGES:
        if not Path(name).exists():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            put_image(Path(name), draw_scene(np.random.default_rng(0), (96, 128), 4).image)


def small() -> None:
    """In this process, and in those that it forks, models are tiny, trainings one epoch, and drawn data few."""
    from yapf.yapflib import yapf_api

    import swinv2_dense.cli.common as common
    import swinv2_dense.demo.own_data as drawn
    import swinv2_dense.engine.runner.launch as launch
    import swinv2_dense.planning.fit as fit

    load, train, draw_all = common.load_config, launch.train, drawn.draw_own_data

    def load_small(args: Any) -> Any:
        return shrunk(load(args)) if hasattr(args, "data") else load(args)  # of training

    def train_shortly(cfg: Any, **options: Any) -> Any:
        loop = cfg.train_cfg
        loop.update({"max_epochs": 1} if "max_epochs" in loop else {"max_iters": 2}, val_interval=1)
        cfg.default_hooks.checkpoint.interval = 1
        cfg.param_scheduler = []
        for split in ("train", "val", "test"):
            if loader := cfg.get(f"{split}_dataloader"):
                loader.num_workers = 0
        return train(cfg, **options)

    common.load_config, launch.train = load_small, train_shortly
    drawn.draw_own_data = lambda *args, **options: draw_all(*args, **{**options, "quick": True})
    fit.warning = lambda cfg: None
    yapf_api.FormatCode = lambda text, **_: (text, True)  # of a config, which takes longer than to train on it


def shrunk(cfg: Any) -> Any:
    """A config with a backbone of four narrow blocks and narrow heads, at a short side of 64 pixels."""
    from swinv2_dense.own_data.sizes import config_size, scale_sizes

    backbone = cfg.model.backbone
    if isinstance(backbone.get("arch"), str):
        widths = {96 * 2**i: 8 * 2**i for i in range(4)}
        video = isinstance(backbone.get("window_size"), tuple) and len(backbone.window_size) == 3
        cfg.model = _narrow(cfg.model, widths)
        cfg.model.backbone.arch = {"embed_dims": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}
        cfg.model.backbone.window_size = (2, 4, 4) if video else 4
        if cfg.get("val_dataloader") and config_size(cfg):
            scale_sizes(cfg, 64)
    return cfg


def _narrow(node: Any, widths: dict[int, int]) -> Any:
    """Layers behind a tiny backbone's stages: ``in_channels`` of its widths, and few of everything else."""
    few = {"fc_out_channels": 16, "num": 16, "max_per_img": 8}
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "in_channels":
                node[key] = [widths.get(v, v) for v in value] if isinstance(value, list) else widths.get(value, value)
            elif key == "channels" and str(node.get("type")).endswith("Head"):  # of mmseg
                node[key] = 16
            elif key in few and isinstance(value, int):
                node[key] = few[key]
            else:
                _narrow(value, widths)
    elif isinstance(node, (list, tuple)):
        for entry in node:
            _narrow(entry, widths)
    return node

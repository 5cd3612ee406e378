"""The command ``swinv2``: its front page, and the way to the module of each command."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import swinv2_dense
from swinv2_dense.cli import common
from swinv2_dense.errors import UserError
from swinv2_dense.suggestions import did_you_mean

__all__ = ["COMMANDS", "main"]

# By section: command -> what it does. Its module has its name.
_SECTIONS = {
    "Look around": {
        "demo": "see everything work on generated data: seconds with --quick",
        "models": "list the models that come with it",
        "doctor": "list what is installed, what is broken, and the fix",
    },
    "Prepare data": {
        "prepare coco": "check a COCO folder, convert Objects365, draw semantic maps",
        "prepare ade20k": "check an ADE20K folder",
        "prepare kinetics400": "list the clips of a Kinetics folder that can be read",
        "prepare imagenet": "check class folders, ImageNet's or your own, and their labels",
        "prepare images": "check a folder of images without labels",
        "browse": "draw what the training pipeline makes of the data",
    },
    "Train, test, predict": {
        "plan": "how much memory a training needs, on which GPUs it fits",
        "train": "train a model from a config",
        "test": "evaluate trained weights",
        "predict": "find things in images, folders, videos with trained weights",
        "serve": "a page in the browser: drop an image, see what is found in it",
        "export": "write a model as ONNX or as a program of torch.export",
    },
    "Look closer": {
        "analyze": "what a trained model gets wrong: confusion matrix, classes, worst images",
        "explain": "where a model looks: Grad-CAM, windows, position biases",
        "checkpoint": "inspect a checkpoint of any publisher, or convert it",
        "amplitude": "draw how large the features are behind every block",
        "amplitude-table": "the same in small, at growing depth, with pre-norm and with res-post-norm",
        "bench": "time our backbone beside those of other libraries",
        "results": "write the page of results from the metafiles",
        "transfer-table": "the paper's window transfer in small, by position bias",
        "simmim-table": "pre-training by SimMIM in small, with few and with all labels",
    },
}
# What a command can do with less of a GPU's memory, where it is not what training can (in common).
_LESS_MEMORY = {
    "test": "lower test_dataloader.batch_size, or test at a smaller scale",
    "predict": "lower --batch, or predict in tiles, as by --tile 1024; --device cpu takes longer",
    "analyze": "make the images smaller, or take --device cpu, which takes longer",
    "explain": "make the image smaller, or take --device cpu, which takes longer",
}
COMMANDS = [command for section in _SECTIONS.values() for command in section]

_START = """\
SwinV2 for detection, segmentation and video recognition.

usage: swinv2 COMMAND [OPTIONS]
       swinv2 COMMAND --help               explains one command, with an example

Start here:
  swinv2 demo --quick                        train, test and draw; nothing to download
  swinv2 predict CHECKPOINT street.jpg       what a trained model finds in an image
  swinv2 models htc                          which models there are
  swinv2 train htc_swinv2_t --fast-dev-run   one iteration of everything, to find mistakes
  swinv2 train faster_rcnn_swinv2_t_640 --data my_boxes     on your own data: COCO, YOLO, VOC
"""
_END = """\
A model is given by its name (htc_swinv2_t, coco/htc_swinv2_t) or by the path of a config file."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``swinv2 COMMAND ...``; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return common.run(lambda: _dispatch(argv))


def help_page() -> str:
    width = max(map(len, COMMANDS))
    sections = (
        f"{title}:\n" + "".join(f"  {command:<{width}}  {what}\n" for command, what in commands.items())
        for title, commands in _SECTIONS.items()
    )
    return "\n".join([_START, *sections, _END])


def _dispatch(argv: Sequence[str]) -> int | None:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(help_page())
        return 0
    if argv[0] in ("-V", "--version", "version"):
        print(f"swinv2_dense {swinv2_dense.__version__}")
        return 0
    for words in (2, 1):
        command = " ".join(argv[:words])
        if len(argv) >= words and command in COMMANDS:
            return run_command(command, argv[words:])
    return _group(argv)


def run_command(command: str, argv: Sequence[str] | None = None) -> int | None:
    """Run the module of a command."""
    module = importlib.import_module(f"swinv2_dense.cli.{command.replace(' ', '.').replace('-', '_')}")
    try:
        status: int | None = module.main(argv)
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError" and command in _LESS_MEMORY:  # torch's
            raise UserError(f"the GPU's memory is full: {_LESS_MEMORY[command]}") from error
        raise
    return status


def _group(argv: Sequence[str]) -> int:
    """``prepare`` alone lists its commands; anything else is a mistake."""
    first, given = argv[0], " ".join(argv[:2])
    members = {c: what for section in _SECTIONS.values() for c, what in section.items() if c.startswith(f"{first} ")}
    if members and (len(argv) == 1 or argv[1] in ("-h", "--help")):
        print(f"usage: swinv2 {first} COMMAND [OPTIONS]\n")
        for command, what in members.items():
            print(f"  swinv2 {command:<22}{what}")
        return 0 if argv[1:] else 2
    unknown, known = (given, members) if members else (first, COMMANDS)
    if first.startswith("-"):
        raise UserError(f"unknown option {first}: {did_you_mean(first, ['--help', '--version'])}")
    meant = did_you_mean(unknown, known, otherwise="swinv2 --help lists the commands")
    raise UserError(f"unknown command {unknown!r}: {meant}")

"""The command-line parser of every command: its help, its one-line errors, and the options that commands share."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from swinv2_dense.suggestions import did_you_mean, nearest

__all__ = ["HelpWithDefaults", "Parser", "add_cfg_options", "add_common_options", "add_config", "add_model"]

_HOME = re.compile(r"^(?:[-\w.]+=)?~(?=/|$)")  # which no shell replaces in --out=~/x, and none where it is quoted


class HelpWithDefaults(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Adds each option's default to its help."""


class Parser(argparse.ArgumentParser):
    """argparse's parser, for one command of ``swinv2``.

    Args:
        command: Its name, such as ``train`` or ``prepare coco``.
        description: What it does; the text of the module.
        examples: Command lines that end the help page, without ``swinv2 COMMAND``.
    """

    def __init__(
        self, command: str = "", description: str | None = None, examples: Sequence[str] = (), **options: Any
    ) -> None:
        options.setdefault("prog", f"swinv2 {command}")
        shown = "".join(f"\n  {options['prog']} {example}".rstrip() for example in examples)
        epilog = f"example{'s'[: len(examples) > 1]}:{shown}" if examples else None
        options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "epilog": epilog, **options}
        super().__init__(description=description, **options)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's; ``~/`` is the home folder, whether the shell or nobody has replaced it."""
        given = sys.argv[1:] if args is None else args
        return super().parse_known_args([_HOME.sub(_at_home, argument) for argument in given], namespace)

    def error(self, message: str) -> NoReturn:
        """End the program with one line that says what was probably meant."""
        if match := re.match(r"unrecognized arguments: (.*)", message):
            message = self._unknown(match[1].split())
        elif match := re.match(r"argument (.+): invalid choice: '(.+?)' \(.*?(?:choose|maybe)", message):
            message = f"{match[1]}: unknown {match[2]!r}{self._choices(match[1], match[2])}"
        self.exit(2, f"error: {message} ({self.prog} --help explains the options)\n")

    def _unknown(self, arguments: list[str]) -> str:
        options = [argument for argument in arguments if argument.startswith("--")]
        if not options:
            return f"unexpected argument {arguments[0]!r}"
        known = [option for option in self._option_string_actions if option.startswith("--")]
        option = options[0].partition("=")[0]
        close = nearest(option, known)
        return f"unknown option {option}" + (f": did you mean {close}?" if close else "")

    def _choices(self, argument: str, given: str) -> str:
        for action in self._actions:
            names = {*action.option_strings, "/".join(action.option_strings), action.dest, str(action.metavar)}
            if action.choices is not None and argument in names:
                return ": " + did_you_mean(given, map(str, action.choices))
        return ""


def _at_home(match: re.Match[str]) -> str:
    return match[0][:-1] + os.path.expanduser("~")


def _cfg_options_action() -> type[argparse.Action]:
    from mmengine.config import DictAction

    class Options(DictAction):
        """mmengine's KEY=VALUE pairs, with a usage message where it cannot read one."""

        def __call__(
            self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None
        ) -> None:
            for pair in values:
                if "=" not in pair:
                    parser.error(f"{option} takes KEY=VALUE pairs, not {pair!r}")
            try:
                super().__call__(parser, namespace, values, option)
            except (AssertionError, RecursionError):  # how mmengine's parser gives up on unbalanced or nested brackets
                parser.error(
                    f"{option} takes numbers, words, (a,b) and [a,b] as values, not all of {' '.join(values)!r}"
                )

    return Options


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="path of a config file, or its name: coco/htc_swinv2_t, htc_swinv2_t")


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=_cfg_options_action(),
        metavar="KEY=VALUE",
        help="change entries of the config, e.g. model.backbone.window_size=48 train_dataloader.batch_size=1",
    )


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """The options that training and testing share, as OpenMMLab names them."""
    parser.add_argument("--work-dir", help="folder for logs and results (default: work_dirs/NAME-OF-THE-CONFIG)")
    add_cfg_options(parser)
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="job launcher")
    # The launcher of torch.distributed passes it; mmengine reads the environment.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


class _Window(argparse.Action):
    """One number stands for all axes."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        setattr(namespace, self.dest, values[0] if len(values) == 1 else values)


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """Add the precision that predictions are computed in."""
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="bfloat16: of the backbone, as in training with --amp, whose maps then differ by half a percent; faster "
        "where the processor multiplies it faster",
    )


def add_model(parser: argparse.ArgumentParser, checkpoint: str) -> None:
    """Add what says which model predicts, and how: ``checkpoint``, whose help is given, config, window and device."""
    parser.add_argument("checkpoint", help=checkpoint)
    parser.add_argument("--config", help="path or name of a config, in the place of the checkpoint's own")
    parser.add_argument(
        "--window", type=int, nargs="+", action=_Window, metavar="TOKENS", help="another attention window"
    )
    parser.add_argument("--device", help="such as cuda:1 or cpu (default: a GPU where there is one)")

"""Every command that README and docs print exists, with the options that it is printed with.

Commands that need data, weights or a GPU cannot run here; their own parsers read them as printed.
"""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from swinv2_dense.cli.main import COMMANDS
from tests.tiny import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
_TOOLS = {"benchmark": "bench"}  # programs that are not called as their command
_SYNTAX = re.compile(r"[{}\[\]]|\.\.\.")  # a line that explains the syntax is no command


def printed(page: Path) -> Iterator[tuple[str, str]]:
    """Command and arguments of every line in a fenced block that calls us."""
    inside = False
    for line in _joined(page.read_text()):
        if line.lstrip().startswith("```"):
            inside = not inside
            continue
        text = re.sub(r"(\s#\s|\s{3,}).*", "", line.strip().removeprefix("$ "))
        text = re.sub(r"^(\w+=\S+\s+)+", "", text)  # variables before the command
        called = re.match(r"(swinv2 |tools/([\w/]+)\.py ?)(.*)", text)
        if not inside or called is None or _SYNTAX.search(text):
            continue
        if called[2] is None:
            yield "", called[3]
        else:
            yield _TOOLS.get(called[2], called[2]).replace("/", " ").replace("_", "-"), called[3]


def _joined(text: str) -> list[str]:
    return re.sub(r"\\\n\s*", " ", text).splitlines()


def command_of(words: list[str]) -> tuple[str, list[str]]:
    for count in (2, 1):
        if " ".join(words[:count]) in COMMANDS:
            return " ".join(words[:count]), words[count:]
    raise AssertionError(f"there is no command {words[0]!r}")


LINES = [(page, tool, arguments) for page in PAGES for tool, arguments in printed(page)]


def test_there_are_lines_on_most_pages() -> None:
    assert len(LINES) > 40
    assert len({page for page, *_ in LINES}) > 10


@pytest.mark.parametrize(
    ("page", "tool", "arguments"), LINES, ids=[f"{page.stem}: {tool} {rest}"[:80] for page, tool, rest in LINES]
)
def test_a_printed_command_is_understood(
    page: Path, tool: str, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, argv = command_of([*tool.split(), *shlex.split(arguments)])
    if argv and argv[0] in ("--help", "--version"):
        return
    module = importlib.import_module(f"swinv2_dense.cli.{command.replace(' ', '.').replace('-', '_')}")
    if not hasattr(module, "parse_args"):
        return
    code: object = 0
    try:
        module.parse_args(argv)
    except SystemExit as end:
        code = end.code
    assert code == 0, f"{page.name}: {command} {' '.join(argv)}: {capsys.readouterr().err}"

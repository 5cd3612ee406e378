"""One line for each mistake in options, which says what was probably meant; examples end the help page."""

from __future__ import annotations

import pytest

from swinv2_dense.cli.parser import Parser, add_common_options, add_model


def parser() -> Parser:
    made = Parser("cook", "Cook.", ("soup --time 3",))
    made.add_argument("dish")
    made.add_argument("--time", type=int)
    made.add_argument("--way", choices=["fried", "boiled"])
    add_common_options(made)
    return made


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/cook")
    options = ["--work-dir=~/w", "--cfg-options", "load_from=~/a.pth", "note=a~/b"]
    args = parser().parse_args(["~/soup", *options])
    assert (args.dish, args.work_dir) == ("/home/cook/soup", "/home/cook/w")
    assert args.cfg_options == {"load_from": "/home/cook/a.pth", "note": "a~/b"}
    assert parser().parse_args(["~soup.jpg"]).dish == "~soup.jpg"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["soup", "--tiem", "3"], "unknown option --tiem: did you mean --time?"),
        (["soup", "--tiem=3"], "unknown option --tiem: did you mean --time?"),
        (["soup", "--zzzzzz"], "unknown option --zzzzzz"),
        (["soup", "bread"], "unexpected argument 'bread'"),
        (["soup", "--way", "fryed"], "--way: unknown 'fryed': did you mean 'fried'?"),
        (["soup", "--time", "long"], "argument --time: invalid int value: 'long'"),
        ([], "the following arguments are required: dish"),
        (["soup", "--cfg-options", "a"], "--cfg-options takes KEY=VALUE pairs, not 'a'"),
        (["soup", "--cfg-options", "a=[1,(2"], "--cfg-options takes numbers, words, (a,b) and [a,b] as values"),
    ],
)
def test_mistakes(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parser().parse_args(argv)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {line}")
    assert said.endswith("(swinv2 cook --help explains the options)\n")
    assert said.count("\n") == 1


def test_help_ends_with_the_examples() -> None:
    assert parser().format_help().endswith("example:\n  swinv2 cook soup --time 3\n")


def test_options_of_the_config() -> None:
    args = parser().parse_args(["soup", "--cfg-options", "a.b=3", "c=(1,2)", "--local-rank", "1"])
    assert args.cfg_options == {"a.b": 3, "c": (1, 2)}
    assert args.local_rank == 1


@pytest.mark.parametrize(
    ("given", "window"), [([], None), (["--window", "8"], 8), (["--window", "2", "8", "8"], [2, 8, 8])]
)
def test_one_number_of_a_window_stands_for_all_axes(given: list[str], window: object) -> None:
    parser = Parser("some")
    add_model(parser, "a checkpoint")
    args = parser.parse_args(["a.pth", *given])
    assert (args.checkpoint, args.config, args.device, args.window) == ("a.pth", None, None, window)

"""What a demo shows on the screen: numbered steps, progress, times. All other output goes to a log file."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from swinv2_dense.errors import UserError

__all__ = ["Advance", "DemoConsole"]

# Takes how much is done, and a note such as the loss.
Advance = Callable[[int, str], None]


class DemoConsole:
    """The screen and the log file of a demo of ``steps`` steps.

    Raises:
        UserError: the log's folder cannot be written to.
    """

    def __init__(self, log: Path, steps: int) -> None:
        self.console = Console(file=sys.stdout, highlight=False)
        self.log, self.steps, self.step_number = log, steps, 0
        self.start = time.perf_counter()
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            # Never closed by us: the handlers of mmengine's loggers keep it and write to it until the process ends.
            self._log = log.open("w", buffering=1)
        except OSError as error:
            raise UserError(f"{log} cannot be written ({error.strerror}): choose another --work-dir") from error

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One numbered step; what the libraries print in it goes to the log file."""
        self.step_number += 1
        self.console.print(f"[bold]{self.step_number}/{self.steps}  {title}[/bold]", markup=True)
        start = time.perf_counter()
        self._catch_logger()
        with contextlib.redirect_stdout(self._log), contextlib.redirect_stderr(self._log):
            yield
        self.say(f"took {_duration(time.perf_counter() - start)}")

    def _catch_logger(self) -> None:
        """Have mmengine's logger write to the log: importing mmdet makes one, on what is the screen then."""
        if MMLogger.check_instance_created("mmengine"):
            for handler in MMLogger.get_instance("mmengine").handlers:
                if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr):
                    handler.setStream(self._log)

    def say(self, text: str) -> None:
        for line in text.splitlines():
            self.console.print(f"     {line}", markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def progress(self, total: int, unit: str) -> Iterator[Advance]:
        """A bar with the remaining time; where there is no terminal, a line after every tenth."""
        columns = (
            *(TextColumn("    "), BarColumn(30), MofNCompleteColumn(), TextColumn(unit)),
            *(
                TimeElapsedColumn(),
                TextColumn("elapsed,"),
                TimeRemainingColumn(),
                TextColumn("left  {task.fields[note]}"),
            ),
        )
        start = time.perf_counter()
        reported = 0

        # The bar must not catch the libraries' output: it belongs to the log file.
        with Progress(
            *columns,
            console=self.console,
            disable=not self.console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as bar:
            task = bar.add_task("", total=total, note="")

            def advance(done: int, note: str = "") -> None:
                nonlocal reported
                bar.update(task, completed=done, note=note)
                if not self.console.is_terminal and done * 10 // total > reported:
                    reported = done * 10 // total
                    left = (time.perf_counter() - start) * (total - done) / done
                    self.say(f"{done}/{total} {unit}, {_duration(left)} left  {note}".rstrip())

            yield advance

    def finish(self) -> None:
        self.console.print(f"[bold]Done in {_duration(time.perf_counter() - self.start)}.[/bold]")

    def finish_with(self, scores: Mapping[str, float], wanted: float, images: Path, *, required: bool = True) -> None:
        """Finish by showing what was reached on held-out data, and where the images are.

        Raises:
            UserError: a score is below ``wanted``, and that is ``required``.
        """
        table = Table("on held-out data", "reached", "wanted")
        for name, score in scores.items():
            table.add_row(name, f"{score:.3f}", f">= {wanted}")
        self.console.print(table)
        self.console.print("Images to look at:")
        for path in sorted(images.glob("*.png")):
            self.say(str(path))
        self.finish()
        if required and min(scores.values()) < wanted:
            raise UserError(f"the demo reached less than {wanted}: run `swinv2 doctor`, see {self.log}")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"

"""One entry of a data set that is not as it should be: what every check yields, for training and for ``prepare``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

__all__ = ["Finding", "raise_first", "warn"]


@dataclass(frozen=True)
class Finding:
    """One entry that is not as it should be.

    ``kind`` groups findings. Not ``serious`` are those that training copes with, by leaving the entry out or by taking
    the obvious default.
    """

    kind: str
    file: str  # as the message shall name it
    detail: str = ""
    image: object = None  # ids in the annotation file
    annotation: object = None
    serious: bool = True

    def __str__(self) -> str:
        ids = [
            f"{name} {shown(value)}" for name in ("image", "annotation") if (value := getattr(self, name)) is not None
        ]
        return ": ".join(part for part in (self.file, ", ".join(ids), self.detail) if part)


def raise_first(findings: Iterable[Finding], remedy: str, *, warnings: bool = True) -> None:
    """Refuse the first serious finding, and warn of the kinds of the others, one line each.

    Args:
        remedy: what to do, for the end of the message.
        warnings: warn of the others.

    Raises:
        UserError: there is a serious finding; names it and how many there are of its kind.
    """
    findings = list(findings)
    first = next((finding for finding in findings if finding.serious), None)
    if first is not None:
        same = sum(finding.serious and finding.kind == first.kind for finding in findings)
        raise UserError(f"{first.kind}{f' ({same} of them)' if same > 1 else ''}: {first}: {remedy}")
    examples = {finding.kind: finding for finding in reversed(findings)}
    for kind, count in Counter(finding.kind for finding in findings if warnings).items():
        warn(f"{kind} ({count}), the first: {examples[kind]}")


def warn(line: str) -> None:
    """Print a line that is no error, once, on stderr."""
    print(f"warning: {' '.join(line.split())}", file=sys.stderr)

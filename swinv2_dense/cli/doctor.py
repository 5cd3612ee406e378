"""What is installed, what is broken, and the command that fixes it."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Sequence

from swinv2_dense.doctor.__main__ import main as examine


def main(argv: Sequence[str] | None = None) -> int:
    # A part compiled for another torch may end the whole process; this shows which.
    faulthandler.enable(sys.__stderr__ or sys.stderr)
    return examine(argv)

"""Tiny models of every task, for the commands that take a checkpoint."""

from tests.inference.conftest import folder, image, run_of, video  # noqa: F401  fixtures

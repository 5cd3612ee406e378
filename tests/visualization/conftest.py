"""Tiny models of every task, for drawings of what a model does."""

from tests.inference.conftest import folder, image, run_of, video  # noqa: F401  fixtures

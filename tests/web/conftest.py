"""Tiny models of every task, for the page that serves one."""

from tests.inference.conftest import folder, image, run_of, video  # noqa: F401  fixtures

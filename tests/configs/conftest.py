"""Fixtures of the tests that run a config."""

from tests.tools.tiny import clean_run, coco  # noqa: F401

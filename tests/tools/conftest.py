"""Fixtures of the tools' tests."""

from tests.tools.tiny import clean_run, coco, config  # noqa: F401

"""Fixtures of the rooms that read a config."""

from tests.tools.tiny import clean_run, coco, config  # noqa: F401

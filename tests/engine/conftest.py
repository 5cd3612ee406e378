"""Fixtures of the rooms that read a config."""

from tests.tools.tiny import coco, config  # noqa: F401

"""Fixtures of the tools' tests."""

from tests.tools.tiny import coco, config  # noqa: F401

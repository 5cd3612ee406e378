#!/usr/bin/env python
"""The command ``swinv2 checkpoint``."""

import sys

from swinv2_dense.cli import checkpoint, common

sys.exit(common.run(checkpoint.main))

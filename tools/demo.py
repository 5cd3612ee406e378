#!/usr/bin/env python
"""The command ``swinv2 demo``."""

import sys

from swinv2_dense.cli import common, demo

sys.exit(common.run(demo.main))

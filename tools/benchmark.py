#!/usr/bin/env python
"""The command ``swinv2 bench``."""

import sys

from swinv2_dense.cli import bench, common

sys.exit(common.run(bench.main))

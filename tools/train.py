#!/usr/bin/env python
"""The command ``swinv2 train``."""

import sys

from swinv2_dense.cli import common, train

sys.exit(common.run(train.main))

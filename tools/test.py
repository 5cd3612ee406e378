#!/usr/bin/env python
"""The command ``swinv2 test``."""

import sys

from swinv2_dense.cli import common, test

sys.exit(common.run(test.main))

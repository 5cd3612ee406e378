#!/usr/bin/env python
"""The command ``swinv2 results``."""

import sys

from swinv2_dense.cli import common, results

sys.exit(common.run(results.main))

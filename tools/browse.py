#!/usr/bin/env python
"""The command ``swinv2 browse``."""

import sys

from swinv2_dense.cli import browse, common

sys.exit(common.run(browse.main))

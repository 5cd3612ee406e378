#!/usr/bin/env python
"""The command ``swinv2 plan``."""

import sys

from swinv2_dense.cli import common, plan

sys.exit(common.run(plan.main))

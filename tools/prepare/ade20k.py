#!/usr/bin/env python
"""The command ``swinv2 prepare ade20k``."""

import sys

from swinv2_dense.cli import common
from swinv2_dense.cli.prepare import ade20k

sys.exit(common.run(ade20k.main))

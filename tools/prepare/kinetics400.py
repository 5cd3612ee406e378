#!/usr/bin/env python
"""The command ``swinv2 prepare kinetics400``."""

import sys

from swinv2_dense.cli import common
from swinv2_dense.cli.prepare import kinetics400

sys.exit(common.run(kinetics400.main))

#!/usr/bin/env python
"""The command ``swinv2 prepare coco``."""

import sys

from swinv2_dense.cli import common
from swinv2_dense.cli.prepare import coco

sys.exit(common.run(coco.main))

#!/usr/bin/env python
"""The command ``swinv2 amplitude``."""

import sys

from swinv2_dense.cli import amplitude, common

sys.exit(common.run(amplitude.main))

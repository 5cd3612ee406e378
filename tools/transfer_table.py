#!/usr/bin/env python
"""The command ``swinv2 transfer-table``."""

import sys

from swinv2_dense.cli import common, transfer_table

sys.exit(common.run(transfer_table.main))

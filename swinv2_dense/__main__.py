"""``python -m swinv2_dense`` is ``swinv2``."""

import sys

from swinv2_dense.cli.main import main

sys.exit(main())

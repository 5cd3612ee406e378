#!/usr/bin/env python3
"""The command ``swinv2 prepare images``."""

if __name__ == "__main__":
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from _swinv2 import run

    run("prepare images")

#!/usr/bin/env python3
"""The command ``swinv2 amplitude-table``."""

if __name__ == "__main__":
    from _swinv2 import run

    run("amplitude-table")

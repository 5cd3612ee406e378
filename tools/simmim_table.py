#!/usr/bin/env python3
"""The command ``swinv2 simmim-table``."""

if __name__ == "__main__":
    from _swinv2 import run

    run("simmim-table")

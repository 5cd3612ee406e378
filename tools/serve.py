#!/usr/bin/env python3
"""The command ``swinv2 serve``."""

if __name__ == "__main__":
    from _swinv2 import run

    run("serve")

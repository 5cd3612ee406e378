"""One module per command of ``swinv2``."""

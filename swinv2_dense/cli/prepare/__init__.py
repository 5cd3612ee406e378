"""One module per data set that ``swinv2 prepare`` checks and converts."""

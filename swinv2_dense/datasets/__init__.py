"""Data sets and transforms, each registered when its module is imported."""

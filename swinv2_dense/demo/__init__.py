"""Demonstrations on generated data: what ``tools/demo.py`` runs, one module per task."""

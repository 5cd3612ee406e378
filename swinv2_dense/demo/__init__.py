"""Demonstrations on generated data: what ``swinv2 demo`` runs, one module per task."""

"""Toy data that need no download."""

from swinv2_dense.datasets.shapes import CLASSES, GROUNDS
from swinv2_dense.datasets.shapes_coco import write_shapes_coco

__all__ = ["CLASSES", "GROUNDS", "write_shapes_coco"]

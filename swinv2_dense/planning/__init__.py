"""How much memory a training needs, found by running its step without numbers: what ``swinv2 plan`` prints."""

from swinv2_dense.planning.plan import GIB, Plan, Way, make_plan
from swinv2_dense.planning.rendering import flags, summary, table
from swinv2_dense.planning.training_forward import input_size

__all__ = ["GIB", "Plan", "Way", "flags", "input_size", "make_plan", "summary", "table"]

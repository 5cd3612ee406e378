"""What a trained model gets wrong: ``swinv2 analyze``."""

from swinv2_dense.analysis.confusion import Counts, count
from swinv2_dense.analysis.truth import truths

__all__ = ["Counts", "count", "truths"]

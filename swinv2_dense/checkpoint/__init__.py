"""Checkpoints of any publisher: found out, read safely, renamed, given their windows, loaded, reported, converted.

Knows nothing of ``models``: a backbone is anything with ``window_size`` and ``set_pretrained_window_size``.
"""

from swinv2_dense.checkpoint.completeness import check_complete
from swinv2_dense.checkpoint.loading import adapt_state_dict, load_pretrained
from swinv2_dense.checkpoint.reading import Checkpoint, read, read_meta
from swinv2_dense.checkpoint.report import LoadReport
from swinv2_dense.checkpoint.summary import Summary, summarize
from swinv2_dense.checkpoint.writing import convert

__all__ = [
    "Checkpoint",
    "LoadReport",
    "Summary",
    "adapt_state_dict",
    "check_complete",
    "convert",
    "load_pretrained",
    "read",
    "read_meta",
    "summarize",
]

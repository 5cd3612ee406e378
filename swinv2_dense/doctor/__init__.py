"""``python -m swinv2_dense.doctor [EXTRA ...]``: what is installed, what is broken, and the command that fixes it.

``facts`` imports every part and notes what happened; ``findings`` recognises, from these notes alone, the broken
installs that people meet; ``__main__`` prints the table.
"""

from swinv2_dense.doctor.facts import PARTS, Facts, Part, collect
from swinv2_dense.doctor.findings import Finding, examine

__all__ = ["PARTS", "Facts", "Finding", "Part", "collect", "examine"]

"""Own data in place of a config's: any usual format is recognised, split, and put into the config (docs/own_data)."""

from swinv2_dense.own_data.settings import Choices, use_own_data

__all__ = ["Choices", "use_own_data"]

"""The list of cases."""

from __future__ import annotations

from swinv2_dense.config_files import find_config
from swinv2_dense.measure.benchmark_cases import CARD, DEFAULT, cases
from swinv2_dense.measure.whole_model_case import WholeModelCase


def test_names_are_of_cases_and_configs() -> None:
    found = cases()
    assert set(DEFAULT) | set(CARD) <= set(found)
    for case in found.values():
        if isinstance(case, WholeModelCase):
            assert find_config(case.config).is_file()

"""What every test shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> Iterator[None]:
    """Tiny tensors: more threads than the workers of the suite only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_scope_left_behind() -> Iterator[None]:
    """A runner leaves its library as the process's default scope, in which the next test would look up its types."""
    yield
    from mmengine.registry import DefaultScope

    DefaultScope._instance_dict.clear()

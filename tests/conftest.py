"""What every test shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.tiny import clean_run, coco, config  # noqa: F401  fixtures of every room that reads a config


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


def _scope_kept() -> Iterator[None]:
    """A runner leaves its library as the process's default scope, in which the next test would look up its types."""
    from mmengine.registry import DefaultScope

    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


_scope_kept_by_test = pytest.fixture(autouse=True)(_scope_kept)
_scope_kept_by_module = pytest.fixture(autouse=True, scope="module")(_scope_kept)

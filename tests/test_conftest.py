"""Processes that tests fork can train, whatever ran before them in this process."""

import os

import pytest
import torch


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_computes_gradients_after_fake_tensors() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        pass
    torch.ones((), requires_grad=True).backward()
    child = os.fork()
    if child == 0:
        try:
            torch.ones((), requires_grad=True).backward()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

"""Whether a training fits: less memory than its step needs is said in one line, with what helps; batches by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from swinv2_dense.planning import GIB, fit
from swinv2_dense.planning.fit import warning  # before the fixture of configs replaces it


@pytest.fixture
def cfg(config: Path) -> Config:
    return Config.fromfile(config)


def test_free_memory_is_that_of_this_machine() -> None:
    free = fit.free_memory()
    assert free is None or 2**20 < free < 2**60


def test_a_container_may_have_less(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 2097152 kB\n"}
    monkeypatch.setattr(Path, "is_file", lambda path: str(path) in texts)

    def read(path: Path) -> str:
        if str(path) not in texts:
            raise FileNotFoundError(path)
        return texts[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert fit.free_memory() == 2 * GIB
    texts |= {"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "5\n"}
    assert fit.free_memory() == 2 * GIB
    texts |= {"/sys/fs/cgroup/memory.max": f"{GIB + 5}\n"}
    assert fit.free_memory() == GIB


def test_warning_and_batch(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (fit.needed_memory(cfg, batch) for batch in (1, 2))
    assert GIB < one < two < 2 * GIB
    monkeypatch.setattr(fit, "needed_memory", lambda cfg, batch: one + (batch - 1) * (two - one))
    monkeypatch.setattr(fit, "free_memory", lambda: 64 * GIB)
    assert warning(cfg) is None
    assert fit.largest_batch(cfg, most=12) == 8
    monkeypatch.setattr(fit, "free_memory", lambda: (one + 3.5 * (two - one)) / 0.9)
    assert fit.largest_batch(cfg) == 4
    monkeypatch.setattr(fit, "free_memory", lambda: 0.5 * GIB)
    assert fit.largest_batch(cfg, least=2) == 2
    line = warning(cfg)
    assert line is not None
    assert "0.5 GiB free" in line
    assert "with_cp=True" in line
    assert "batch_size=1" in line
    cfg.strategy = {"type": "swinv2_dense.FSDP"}
    assert warning(cfg) == line  # a single process shares nothing
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert warning(cfg) is None

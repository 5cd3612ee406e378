"""Processes are counted by the launcher that started them, and not by variables that another one left."""

from __future__ import annotations

import pytest

from swinv2_dense.launcher import is_first_process, process_count, started_by_torchrun


@pytest.mark.parametrize(
    ("launcher", "size", "rank"),
    [
        ("pytorch", "WORLD_SIZE", "RANK"),
        ("slurm", "SLURM_NTASKS", "SLURM_PROCID"),
        ("mpi", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ],
)
def test_each_launcher_has_its_variables(launcher: str, size: str, rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", size, rank):
        monkeypatch.delenv(name, raising=False)
    assert (process_count(launcher), is_first_process(launcher)) == (1, True)
    monkeypatch.setenv(size, "4")
    monkeypatch.setenv(rank, "3")
    assert (process_count(launcher), is_first_process(launcher)) == (4, False)
    assert (process_count("none"), is_first_process("none")) == (1, True)
    assert started_by_torchrun() == (launcher == "pytorch")

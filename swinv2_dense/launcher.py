"""What torchrun, SLURM and MPI say in the environment about the processes that they start."""

from __future__ import annotations

import os

__all__ = ["is_first_process", "process_count", "started_by_torchrun"]

# Variables for the number of processes and for this one's rank, by mmengine's name of the launcher.
_VARIABLES = {
    "pytorch": ("WORLD_SIZE", "RANK"),
    "slurm": ("SLURM_NTASKS", "SLURM_PROCID"),
    "mpi": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
}


def process_count(launcher: str) -> int:
    """How many processes run together; torch.distributed need not be initialised. 1 for the launcher ``none``."""
    size, _ = _VARIABLES.get(launcher, ("", ""))
    return int(os.environ.get(size, 1))


def is_first_process(launcher: str) -> bool:
    """Whether this is the process that does what is to be done once."""
    _, rank = _VARIABLES.get(launcher, ("", ""))
    return int(os.environ.get(rank, 0)) == 0


def started_by_torchrun() -> bool:
    return "RANK" in os.environ

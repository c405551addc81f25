"""The place that a launcher gave to this process: a rank of one training, or a task of its own. Pure."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import NamedTuple

# torchrun and its like start the ranks of one job: they meet at this address. ``srun`` and ``mpirun`` alone start just
# as well tasks that have nothing to do with each other, such as one training per task.
MEETING_POINT = "MASTER_ADDR"
RANKS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"), ("LOCAL_RANK", "WORLD_SIZE"))

HOROVOD = "horovod.torch"
MPI_RANKS = (("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"))
TASKS = (("SLURM_PROCID", "SLURM_NTASKS"), *MPI_RANKS)


class Process(NamedTuple):
    """A process of a training.

    Attributes:
        rank: its number among the processes that train one model.
        world_size: the number of these processes.
        task: its number among independent tasks that were started together; 0 in the first, and in every rank of a job.
    """

    rank: int = 0
    world_size: int = 1
    task: int = 0


def launched_process(environ: Mapping[str, str], loaded_modules: Collection[str] = sys.modules) -> Process:
    """Return this process as the variables of its launcher describe it.

    Used until ``torch.distributed`` is initialized, which knows more.
    """
    job = None
    if environ.get(MEETING_POINT):
        job = _first_pair(environ, (*RANKS, *MPI_RANKS))
    elif HOROVOD in loaded_modules:
        job = _first_pair(environ, (("HOROVOD_RANK", "HOROVOD_SIZE"), *TASKS))
    if job is not None:
        return Process(*job)
    task = _first_pair(environ, TASKS)
    return Process() if task is None else Process(task=task[0])


def _first_pair(environ: Mapping[str, str], names: tuple[tuple[str, str], ...]) -> tuple[int, int] | None:
    """Return the first number and count that fit together: a count of one, or a number beyond it, is a leftover."""
    for number_name, count_name in names:
        number = environ.get(number_name, "")
        count = environ.get(count_name, "")
        is_pair = number.isascii() and number.isdigit() and count.isascii() and count.isdigit()
        if is_pair and int(number) < int(count):
            return int(number), int(count)
    return None

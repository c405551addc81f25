"""Who is one training: ranks of one job are watched in rank 0, independent tasks each for themselves."""

from __future__ import annotations

import pytest
import torch

import relumine

LAUNCHER_VARIABLES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_ARRAY_TASK_ID"),
    *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "HOROVOD_RANK", "HOROVOD_SIZE"),
)


@pytest.fixture
def launch(monkeypatch, mlp):
    """Watches and trains a model as a launcher with these variables would start it; returns the monitor."""

    def run(variables, **options):
        for name in LAUNCHER_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with relumine.watch(model, optimizer, every=1, strict=True, **options) as monitor:
            model(torch.randn(8, 6)).sum().backward()
            optimizer.step()
        return monitor

    return run


RANK_3 = {
    "torchrun": {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3", "MASTER_ADDR": "node1"},
    "torchrun under srun": {
        "RANK": "3",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "3",
        "MASTER_ADDR": "node1",
        "SLURM_PROCID": "0",
        "SLURM_NTASKS": "2",
    },
    "srun with a meeting point": {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "MASTER_ADDR": "node1"},
    "mpirun with a meeting point": {
        "OMPI_COMM_WORLD_RANK": "3",
        "OMPI_COMM_WORLD_SIZE": "8",
        "MASTER_ADDR": "node1",
    },
}
INDEPENDENT = {
    "srun": {"SLURM_PROCID": "3", "SLURM_NTASKS": "8"},
    "mpirun": {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "8"},
    "MPICH": {"PMI_RANK": "3", "PMI_SIZE": "8"},
    "a job array": {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_ARRAY_TASK_ID": "3"},
    "a leftover": {"RANK": "3", "WORLD_SIZE": "1", "MASTER_ADDR": "node1"},
    "a sweep that counts its trials in RANK": {"RANK": "3", "WORLD_SIZE": "8"},
    "nonsense": {"SLURM_PROCID": "three", "SLURM_NTASKS": "²"},
}


@pytest.mark.parametrize("launcher", RANK_3)
def test_another_rank_of_one_job_is_not_watched_and_says_so_once(launcher, launch, memory, capsys):
    monitor = launch(RANK_3[launcher])
    assert memory.uploads == []
    assert capsys.readouterr().err == "relumine: rank 3 of 8 is not watched: rank 0 watches the training of all\n"
    assert (monitor.run_id, monitor.url) == ("", "")


@pytest.mark.parametrize("launcher", RANK_3)
def test_rank_0_of_the_job_is_watched(launcher, launch, memory):
    zero = {"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "0", "OMPI_COMM_WORLD_RANK": "0"}
    monitor = launch({name: zero.get(name, value) for name, value in RANK_3[launcher].items()})
    assert {upload.run.id for upload in memory.uploads} == {monitor.run_id}
    assert {upload.world_size for upload in memory.uploads} == {8}


@pytest.mark.parametrize("launcher", INDEPENDENT)
def test_independent_tasks_of_one_launcher_are_runs_of_their_own(launcher, launch, memory):
    first, second = launch(INDEPENDENT[launcher]), launch(INDEPENDENT[launcher])
    assert first.run_id != second.run_id
    assert {upload.run.id for upload in memory.uploads} == {first.run_id, second.run_id}
    assert {upload.world_size for upload in memory.uploads} == {1}


def test_independent_tasks_that_share_a_run_id_in_the_environment_do_not_share_a_run(launch, memory):
    ids = [
        launch({"SLURM_PROCID": str(task), "SLURM_NTASKS": "3", "RELUMINE_RUN_ID": "sweep"}).run_id for task in range(3)
    ]
    assert ids == ["sweep", "sweep-1", "sweep-2"]
    assert {upload.run.id for upload in memory.uploads} == set(ids)
    longest = launch({"SLURM_PROCID": "2", "SLURM_NTASKS": "3", "RELUMINE_RUN_ID": "r" * 64}).run_id
    assert longest == "r" * 62 + "-2"
    assert launch({"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}, run_id="mine").run_id == "mine"


def test_every_rank_of_one_job_knows_the_run_id_that_all_were_given(launch, memory):
    rank_0 = launch({**RANK_3["torchrun"], "RANK": "0", "RELUMINE_RUN_ID": "job"})
    rank_3 = launch({**RANK_3["torchrun"], "RELUMINE_RUN_ID": "job"})
    assert rank_0.run_id == rank_3.run_id == "job"
    assert rank_0.url == rank_3.url
    assert {upload.run.id for upload in memory.uploads} == {"job"}


def test_an_initialized_process_group_outranks_the_launcher(launch, memory, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        monitor = launch(RANK_3["torchrun"])
    finally:
        torch.distributed.destroy_process_group()
    assert {upload.run.id for upload in memory.uploads} == {monitor.run_id}


def test_a_disabled_monitor_prints_nothing_and_names_no_run(launch, memory, capsys):
    monitor = launch({}, mode="disabled")
    assert (monitor.run_id, monitor.url) == ("", "")
    assert capsys.readouterr().err == ""

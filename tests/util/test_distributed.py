"""How processes find each other and themselves, and what they do together."""

import json
import socket
import time
from contextlib import suppress
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from util import distributed
from util.distributed import Processes, find_processes, first_host, join_processes, meeting_point
from util.errors import StoppedAfterSaving, UserError

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "head", "MASTER_PORT": "29500"}
BATCH_SCRIPT = {"SLURM_JOB_ID": "123456", "SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}
SRUN = BATCH_SCRIPT | {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "6", "SLURM_LOCALID": "2"}
SRUN |= {"SLURM_STEP_NODELIST": "gpu[03-04]"}


# Who this process is


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Processes(0, 1, 0)),
        (TORCHRUN, Processes(5, 8, 1)),
        (SRUN, Processes(6, 8, 2)),
        (SRUN | TORCHRUN, Processes(5, 8, 1)),  # a torchrun that srun started on each machine
        (BATCH_SCRIPT, Processes(0, 1, 0)),  # which has a number too, and the job's number of tasks
        (BATCH_SCRIPT | {"SLURM_STEP_NUM_TASKS": "1"}, Processes(0, 1, 0)),
        ({"RANK": "3"}, Processes(0, 1, 0)),  # of another program
    ],
    ids=["alone", "torchrun", "srun", "torchrun in srun", "batch script", "srun of one", "half of torchrun's"],
)
def test_rank_and_number_are_the_launchers(environment, expected):
    assert find_processes(environment) == expected


def test_first_process_is_the_main_one():
    assert [Processes(rank, 3).main for rank in range(3)] == [True, False, False]


# Where they meet


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu07,gpu09", "gpu07"),
        ("gpu[03-05]", "gpu03"),
        ("gpu[9,03-05]", "gpu9"),
        ("gpu[03-05,9],other[1-2]", "gpu03"),
        ("login,gpu[1-2]", "login"),
        ("gpu-a-[001-128]", "gpu-a-001"),
        ("gpu[1-2].cluster.org", "gpu1.cluster.org"),
        ("rack[1-2]n[04-05]", "rack1n04"),
        ("", ""),
    ],
)
def test_first_machine_of_slurms_list(nodes, first):
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("environment", "point"),
    [
        (TORCHRUN, "tcp://head:29500"),
        (SRUN, "tcp://gpu03:23456"),  # 20000 + 123456 % 20000
        (SRUN | {"SLURM_JOB_ID": "39999"}, "tcp://gpu03:39999"),
        (SRUN | {"MASTER_ADDR": "10.0.0.1"}, "tcp://10.0.0.1:23456"),
        (SRUN | {"MASTER_PORT": "1234"}, "tcp://gpu03:1234"),
        (SRUN | TORCHRUN, "tcp://head:29500"),
    ],
)
def test_what_is_said_counts_and_slurm_says_the_rest(environment, point):
    assert meeting_point(environment) == point


def test_without_any_address_one_line_says_what_to_start_by():
    with pytest.raises(UserError, match=r"no MASTER_ADDR .* start them by torchrun or srun"):
        meeting_point({"RANK": "0", "WORLD_SIZE": "2"})


# GPUs


@pytest.mark.parametrize(
    ("size", "local_rank", "wanted", "expected"),
    [
        (1, 0, [], []),
        (1, 0, [1], [1]),
        (1, 0, [2, 0], [2, 0]),  # DataParallel
        (4, 1, [], []),  # the CPU
        (4, 0, [0], [0]),
        (4, 1, [0], [1]),  # the default of --gpu_ids says nothing about several processes
        (4, 1, [2, 3], [3]),
    ],
)
def test_several_processes_have_a_gpu_each_and_one_process_has_all(monkeypatch, size, local_rank, wanted, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert Processes(0, size, local_rank).gpu_ids(wanted) == expected


@pytest.mark.parametrize(
    ("local_rank", "wanted", "count"), [(2, [0, 1], 2), (4, [0], 4), (5, [3], 4)], ids=["named", "there", "one named"]
)
def test_more_processes_than_gpus_are_refused(monkeypatch, local_rank, wanted, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(UserError, match=f"process {local_rank} of this machine has no GPU: there are {count};"):
        Processes(0, 8, local_rank).gpu_ids(wanted)


# One alone


def test_one_process_needs_no_others():
    with join_processes({}, []) as processes:
        assert processes == Processes()
        assert not dist.is_initialized()
        assert processes.gather("mine") == ["mine"]
        assert (processes.any(True), processes.any(False)) == (True, False)
        with processes.main_first():
            assert processes.main


# Two together


def free_port():
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        return connection.getsockname()[1]


def two_processes(port):
    """Their environments."""
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [{"RANK": str(rank), "LOCAL_RANK": str(rank)} | address for rank in (0, 1)]


def take_part(rank, folder, port):
    torch.set_num_threads(1)
    said = {}
    with join_processes(two_processes(port)[rank], []) as processes:
        said["gathered"] = processes.gather({"rank": rank, "name": "ab"[rank]})
        said["any"] = [processes.any(flag) for flag in (False, rank == 1, rank == 0, True)]
        with processes.main_first():
            said["found"] = (folder / "made").exists()
            if processes.main:
                time.sleep(0.2)  # time enough for the other one to come too early
                (folder / "made").touch()
        grouped = [dist.is_initialized()]
    grouped.append(dist.is_initialized())
    (folder / f"{rank}.json").write_text(json.dumps(said | {"grouped": grouped}))


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("two")
    # Forked, since they only talk to each other: fresh ones would import PyTorch twice more.
    mp.start_processes(take_part, (folder, free_port()), nprocs=2, start_method="fork")
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_values_are_gathered_in_the_order_of_ranks(said):
    for one in said:
        assert one["gathered"] == [{"rank": 0, "name": "a"}, {"rank": 1, "name": "b"}]


def test_flag_of_any_process_is_seen_by_all(said):
    assert [one["any"] for one in said] == [[False, True, True, True]] * 2


def test_main_process_goes_first_and_the_other_finds_made_what_it_made(said):
    assert [one["found"] for one in said] == [False, True]


def test_they_are_together_for_the_block_alone(said):
    assert [one["grouped"] for one in said] == [[True, False]] * 2


def leave(rank, folder, port, errors):
    """What each process does at the end: raise its error, if any; the main one writes something first."""
    torch.set_num_threads(1)
    with suppress(StoppedAfterSaving, KeyError), join_processes(two_processes(port)[rank], []) as processes:
        processes.gather(rank)
        if processes.main:
            time.sleep(0.3)
            (folder / "written").touch()
        if errors[rank] is not None:
            raise errors[rank]("the end")
    (folder / f"{rank}.json").write_text(json.dumps((folder / "written").exists()))


@pytest.mark.parametrize(
    ("errors", "waited"),
    [((None, None), True), ((StoppedAfterSaving, StoppedAfterSaving), True), ((None, KeyError), False)],
    ids=["at the end", "asked to stop", "after an error of its own"],
)
def test_nobody_leaves_before_the_main_process_has_written_and_an_error_keeps_nobody(tmp_path, errors, waited):
    mp.start_processes(leave, (tmp_path, free_port(), errors), nprocs=2, start_method="fork")
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)] == [True, waited]


TOGETHER = {
    "gather": lambda processes: processes.gather("value"),
    "any": lambda processes: processes.any(False),
    "main_first": lambda processes: processes.main_first().__enter__(),
}


def fail_alone(rank, folder, port, what):
    """The main process ends with an error; the other one, which waits for it, writes down what it is told."""
    torch.set_num_threads(1)
    with suppress(KeyError), join_processes(two_processes(port)[rank], []) as processes:
        processes.gather(rank)
        if processes.main:
            raise KeyError("its own mistake")
        try:
            TOGETHER[what](processes)
        except UserError as error:
            (folder / "told").write_text(str(error))
            raise KeyError from error


@pytest.mark.parametrize("what", TOGETHER)
def test_error_of_one_process_is_a_line_in_the_others(tmp_path, what):
    mp.start_processes(fail_alone, (tmp_path, free_port(), what), nprocs=2, start_method="fork")
    assert (tmp_path / "told").read_text() == "another process of this training has ended; its message says why"


def test_others_that_do_not_come_end_in_one_line_within_the_time_for_meeting(monkeypatch):
    monkeypatch.setattr(distributed, "MEETING_TIMEOUT", timedelta(seconds=1))
    port, began = free_port(), time.monotonic()
    expected = rf"^process 0 of 2 could not meet the others at tcp://127.0.0.1:{port} \([^\n]*MASTER_PORT right[^\n]*$"
    with pytest.raises(UserError, match=expected), join_processes(two_processes(port)[0], []):
        pass
    assert time.monotonic() - began < 30
    assert not dist.is_initialized()

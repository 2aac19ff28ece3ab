"""Several processes train as one does: the same weights, the same scores, the same files."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from models import create_model
from tests.tiny_run import tiny_args, tiny_options, write_data_set
from util.checkpoint import load_checkpoint
from util.distributed import Processes, join_processes
from util.engine import Engine, EngineSettings, network_states
from util.random_state import seed_everything
from util.updates import Progress

ROOT = Path(__file__).parents[2]
ITERATIONS, SIZE, BATCH, CLIPS = 10, (32, 32), 4, 4
# Biases in front of a norm have no influence and a gradient of rounding alone; Adam turns 1e-15 of it into 1e-7 of the
# rate, since it divides by the gradient's size plus 1e-8.
RATE = 2e-4


def global_batch(iteration):
    """Pairs with invalid pixels, and clips with flow and masks, in float64."""
    rng = torch.Generator().manual_seed(iteration)

    def rand(*shape):
        return torch.rand(*shape, generator=rng, dtype=torch.float64)

    flow = {name: 4 * rand(CLIPS, 2, 2, *SIZE) - 2 for name in ("flow_fwd", "flow_bwd")}
    masks = {name: rand(CLIPS, 2, 1, *SIZE) > 0.3 for name in ("mask_fwd", "mask_bwd")}
    depth_mm = 150 * rand(BATCH, 1, *SIZE)
    return {
        "synthetic": {"image": 2 * rand(BATCH, 3, *SIZE) - 1, "depth_mm": depth_mm, "valid": depth_mm > 10},
        "video": {"frames": 2 * rand(CLIPS, 3, 3, *SIZE) - 1, **flow, **masks},
    }


def share(batch, rank, size):
    return {
        stream: {name: tensor.chunk(size)[rank] for name, tensor in tensors.items()}
        for stream, tensors in batch.items()
    }


def train(processes, args, dtype=torch.float64, **settings):
    """Weights after some iterations, and the mean losses."""
    seed_everything(0)
    method = create_model(tiny_options("--d_every=3", f"--lr={RATE}", *args)).to(dtype)
    engine = Engine(method, EngineSettings(**settings), processes)
    for iteration in range(1, ITERATIONS + 1):
        engine.begin_epoch(1 + (iteration > ITERATIONS // 2))
        batch = share(global_batch(iteration), processes.rank, processes.size)
        batch = {s: {k: x.to(dtype) if x.is_floating_point() else x for k, x in t.items()} for s, t in batch.items()}
        engine.step(batch, Progress(1, iteration, {"video": iteration}))
    return network_states(method), engine.losses(), engine.state_dict()["random"]


def how_far_weights_moved(networks, args):
    """Mean over the weights of each network, from those that ``train`` begins with."""
    seed_everything(0)
    start = network_states(create_model(tiny_options(*args)).double())
    for name, weights in networks.items():
        yield torch.cat([(weights[key] - start[name][key]).abs().flatten() for key in weights]).mean()


def worker(rank, size, port, folder, args, dtype, settings):
    torch.set_num_threads(1)
    environment = {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with join_processes(environment, []) as processes:
        networks, losses, random = train(processes, args, dtype, **settings)
        state = {"networks": networks, "losses": losses, "num_random_states": len(random)}
        torch.save(state, folder / f"{rank}.pth")


def free_port():
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        return connection.getsockname()[1]


def train_together(folder, args, dtype=torch.float64, **settings):
    """What each of two processes ends with."""
    mp.spawn(worker, (2, free_port(), folder, args, dtype, settings), nprocs=2)
    return [torch.load(folder / f"{rank}.pth", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize(
    ("args", "settings"),
    [
        (["--video_update=alternate"], {}),
        (["--video_update=joint"], {"ema": 0.9, "clip_norm": 1.0}),
        (["--video_update=alternate"], {"accumulate": 2}),
        (["--netG=local", "--niter_fix_global=1", "--n_blocks_local=1", "--ngf=2"], {}),
    ],
    ids=["alternate", "joint", "in parts", "enhancer alone at first"],
)
def test_two_processes_with_half_a_batch_each_get_the_weights_of_one_with_all_of_it(tmp_path, args, settings):
    """GAN, feature matching and video loss; in float64, so that nothing but the order of sums differs."""
    expected, losses, _ = train(Processes(), args, **settings)
    for state in train_together(tmp_path, args, **settings):
        torch.testing.assert_close(state["networks"], expected, rtol=0, atol=1e-9)
        assert state["losses"] == pytest.approx(losses, rel=1e-6)
        assert state["num_random_states"] == 2
    assert all(moved > RATE for moved in how_far_weights_moved(expected, args))


def test_float32_agrees_to_what_rounding_leaves_after_ten_updates_of_adam(tmp_path):
    """Adam divides by the size of a gradient, so where that is rounding alone a step of lr may go either way.

    Nine weights in ten agree to a hundredth of the way that a weight can go in ten iterations, all but one in a hundred
    to a twentieth, and none is off by more than going all of it the other way.
    """
    expected, _, _ = train(Processes(), [], torch.float32)
    state, _ = train_together(tmp_path, [], torch.float32)
    way = 15 * RATE  # G steps twice an iteration; Adam's steps are at most about lr
    differences = torch.cat(
        [(state["networks"][n][k] - w).abs().flatten() for n, weights in expected.items() for k, w in weights.items()]
    )
    assert (differences < 0.01 * way).float().mean() > 0.9
    assert (differences < 0.05 * way).float().mean() > 0.99
    assert differences.max() < 2 * way


def run_program(command, *args):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *map(str, args)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_torchrun_trains_scores_and_reports_as_one_process_does(tmp_path):
    dataroot = write_data_set(tmp_path / "data")
    args = tiny_args(dataroot, f"--checkpoints_dir={tmp_path}", "--batchSize=2", "--videoBatchSize=2")
    args += ["--niter=2", "--niter_decay=1", "--video_start_epoch=1", "--eval_epoch_freq=1", "--print_freq=2"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py"]
    run_program([sys.executable, "train.py"], *args, "--name=one")
    done = run_program(torchrun, *args, "--name=two")
    one, two = (load_checkpoint(tmp_path / name / "latest.pth") for name in ("one", "two"))
    assert one["streams"] == two["streams"]
    torch.testing.assert_close(two["networks"], one["networks"], rtol=0, atol=9 * 2 * 5e-5)
    assert two["best"] == pytest.approx(one["best"], rel=1e-2)
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two")]
    assert reports[1]["test"]["ours"]["abs_rel"] == pytest.approx(reports[0]["test"]["ours"]["abs_rel"], rel=1e-2)
    assert done.stderr.count("first iteration") == 1
    assert (tmp_path / "two" / "loss_log.txt").read_text().count("(epoch") == 5

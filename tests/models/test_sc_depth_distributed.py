"""SC-Depth in two processes: one forward pass of a network or several, both end with the same weights."""

import pytest
import torch
import torch.multiprocessing as mp

from models import create_model
from tests.models.test_distributed_training import free_port
from tests.models.test_sc_depth_model import video
from tests.tiny_run import tiny_options
from util.distributed import join_processes
from util.engine import Engine, EngineSettings, network_states
from util.random_state import seed_everything
from util.updates import Progress


def worker(rank, port, folder, version):
    torch.set_num_threads(1)
    environment = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with join_processes(environment, []) as processes:
        seed_everything(0)
        method = create_model(tiny_options(f"--sc_version={version}", "--learn_intrinsics", model="sc_depth"))
        before = network_states(method)
        before = {name: {key: value.clone() for key, value in state.items()} for name, state in before.items()}
        engine = Engine(method, EngineSettings(), processes)
        engine.begin()
        mine = {name: tensor[rank : rank + 1] for name, tensor in video(batch=2).items()}
        for iteration in (1, 2):
            engine.step({"video": mine}, Progress(1, iteration))
        engine.share_statistics()
        torch.save(
            {"before": before, "after": network_states(method), "losses": engine.losses()}, folder / f"{rank}.pth"
        )


@pytest.mark.parametrize("version", [2, 3])
def test_two_processes_learn_the_same_weights_together(tmp_path, version):
    mp.spawn(worker, (free_port(), tmp_path, version), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in (0, 1))
    # Batch norm's running statistics too, once they are shared.
    torch.testing.assert_close(one["after"], two["after"], rtol=0, atol=0)
    assert one["losses"] == two["losses"]
    for name, weights in one["before"].items():
        assert any(not torch.equal(weights[key], one["after"][name][key]) for key in weights), name

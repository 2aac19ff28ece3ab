"""A run's folder, going on in it, and starting from the weights of another."""

import pytest
import torch
from torch import nn

from models.base_model import BaseModel
from util.checkpoint import save_checkpoint
from util.engine import Engine, TrainingDiverged
from util.errors import UserError
from util.run_state import RunState, check_run_folder, load_pretrained, open_run_folder
from util.updates import Progress, Update
from util.weight_files import load_strictly

OPTIONS = {"model": "toy", "batch_size": 4, "seed": 0}


class Toy(BaseModel):
    def __init__(self, width=3):
        super().__init__(None)
        self.net_G = nn.Linear(width, 2)

    def load_network(self, network, state, source):
        load_strictly(network, state, source=source)

    def build_optimizers(self):
        return {"G": torch.optim.Adam(self.net_G.parameters(), lr=0.1)}

    def training_step(self, batch, progress):
        yield Update("G", {"loss": self.net_G(batch["synthetic"]["x"]).square().sum()})


class Streams:
    def __init__(self, consumed=0):
        self.consumed = consumed

    def state_dict(self):
        return {"synthetic": self.consumed}

    def load_state_dict(self, state):
        self.consumed = state["synthetic"]


def make_run(folder, options=OPTIONS, consumed=0, width=3):
    return RunState(folder, options, Engine(Toy(width), []), Streams(consumed))


def train(run, iterations):
    for _ in range(iterations):
        run.iteration += 1
        x = torch.rand(4, 3, generator=torch.Generator().manual_seed(run.iteration))
        run.engine.step({"synthetic": {"x": x}}, Progress(1, run.iteration))


def weight(run):
    return run.engine.method.net_G.weight.detach().clone()


def test_resumed_run_goes_on_as_the_undisturbed_one(tmp_path):
    run = make_run(tmp_path / "a", consumed=5)
    train(run, 4)
    run.facts["references"], run.best["abs_rel"] = {"constant_mm": 50.0}, 0.25
    run.save("latest")
    train(run, 3)
    resumed = make_run(tmp_path / "a")
    resumed.resume("latest")
    assert (resumed.iteration, resumed.streams.consumed) == (4, 5)
    assert (resumed.best, resumed.facts) == ({"abs_rel": 0.25}, {"references": {"constant_mm": 50.0}})
    train(resumed, 3)
    assert torch.equal(weight(resumed), weight(run))


def test_spoiled_weights_overwrite_no_checkpoint(tmp_path):
    run = make_run(tmp_path)
    train(run, 1)
    run.save("latest")
    good = weight(run)
    with torch.no_grad():
        run.engine.method.net_G.weight[0, 0] = float("nan")
    with pytest.raises(TrainingDiverged):
        run.save("latest", "best")
    again = make_run(tmp_path)
    again.resume("latest")
    assert torch.equal(weight(again), good)
    assert not (tmp_path / "best.pth").exists()


def test_checkpoint_of_other_networks_is_refused_with_key_and_shapes(tmp_path):
    make_run(tmp_path / "a").save("latest")
    wider = make_run(tmp_path / "a", width=5)
    before = weight(wider)
    with pytest.raises(UserError, match=r"latest\.pth \(net_G\).*weight is \(2, 3\) in the file, \(2, 5\) here"):
        wider.resume("latest")
    assert torch.equal(weight(wider), before)


def test_checkpoint_of_another_method_is_refused(tmp_path):
    make_run(tmp_path / "a").save("latest")
    with pytest.raises(UserError, match=r"is a checkpoint of --model toy, not of other"):
        make_run(tmp_path / "a", OPTIONS | {"model": "other"}).resume("latest")


def test_other_batches_are_refused_since_the_place_in_the_data_would_be_another(tmp_path):
    make_run(tmp_path / "a").save("latest")
    with pytest.raises(UserError, match=r"trained with --batch_size 4 \(now 2\), .*--load_pretrain .*latest\.pth"):
        make_run(tmp_path / "a", OPTIONS | {"batch_size": 2}).resume("latest")


def test_lower_is_better_and_the_best_is_remembered(tmp_path):
    run = make_run(tmp_path)
    assert [run.improves("abs_rel", value) for value in (0.5, 0.6, 0.5, 0.4)] == [True, False, False, True]


# The folder


def test_folder_of_a_run_is_neither_reused_nor_emptied_unasked(tmp_path):
    save_checkpoint(tmp_path / "a", "latest", {"networks": {}, "options": {}})
    with pytest.raises(UserError, match=r"already holds a run \(latest\); .*--continue_train.*--overwrite.*--name"):
        open_run_folder(tmp_path / "a", OPTIONS, continue_train=False, overwrite=False)
    assert (tmp_path / "a" / "latest.pth").is_file()
    open_run_folder(tmp_path / "a", OPTIONS, continue_train=True, overwrite=False)
    assert (tmp_path / "a" / "latest.pth").is_file()
    assert "batch_size: 4" in (tmp_path / "a" / "opt.yaml").read_text()


def test_folder_with_released_weights_alone_is_not_overwritten(tmp_path):
    (tmp_path / "a").mkdir()
    torch.save({}, tmp_path / "a" / "latest_net_G.pth")
    with pytest.raises(UserError, match=r"already holds a run \(latest_net_G\.pth\)"):
        check_run_folder(tmp_path / "a", continue_train=False, overwrite=False)


def test_overwrite_discards_the_run_but_only_when_it_is_opened(tmp_path):
    save_checkpoint(tmp_path / "a", "latest", {"networks": {}, "options": {}})
    check_run_folder(tmp_path / "a", continue_train=False, overwrite=True)
    assert (tmp_path / "a" / "latest.pth").is_file()
    open_run_folder(tmp_path / "a", OPTIONS, continue_train=False, overwrite=True)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["opt.yaml"]


def test_overwrite_leaves_a_folder_that_is_no_run_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("years of work")
    open_run_folder(tmp_path / "a", OPTIONS, continue_train=False, overwrite=True)
    assert (tmp_path / "a" / "thesis.txt").is_file()


def test_continuing_nothing_is_an_error_that_makes_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="--continue_train: there is no checkpoint in"):
        open_run_folder(tmp_path / "a", OPTIONS, continue_train=True, overwrite=False)
    assert not (tmp_path / "a").exists()


# Weights of another run


def test_pretrained_weights_come_from_a_checkpoint_a_folder_or_a_bare_file(tmp_path):
    run = make_run(tmp_path / "a")
    run.facts["references"] = {"constant_mm": 50.0}
    run.save("latest")
    for path, facts in (
        (tmp_path / "a", run.facts),
        (tmp_path / "a" / "latest.pth", run.facts),
        (tmp_path / "a" / "latest_net_G.pth", {}),
    ):
        method = Toy()
        assert load_pretrained(method, path) == facts
        assert torch.equal(method.net_G.weight, weight(run))


def test_released_weights_with_the_prefix_of_a_wrapper_load(tmp_path):
    released = Toy()
    torch.save({f"module.{key}": value for key, value in released.net_G.state_dict().items()}, tmp_path / "x_net_G.pth")
    method = Toy()
    load_pretrained(method, tmp_path / "x_net_G.pth")
    assert torch.equal(method.net_G.weight, released.net_G.weight)


def test_weights_load_into_wrapped_networks(tmp_path):
    """As with several GPUs, where the engine has wrapped the networks before a run is resumed."""
    run = make_run(tmp_path / "a")
    run.save("latest")
    resumed = make_run(tmp_path / "a")
    resumed.engine.method.net_G = nn.DataParallel(resumed.engine.method.net_G)
    resumed.resume("latest")
    assert torch.equal(resumed.engine.method.net_G.module.weight, weight(run))


def test_weights_of_no_network_of_the_method_are_an_error_and_not_a_fresh_start(tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "latest_net_pose.pth")
    with pytest.raises(UserError, match=r"latest_net_pose\.pth holds net_pose, but the method has net_G"):
        load_pretrained(Toy(), tmp_path / "latest_net_pose.pth")


def test_missing_pretrained_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_pretrained(Toy(), tmp_path / "none.pth")

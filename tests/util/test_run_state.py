"""A run's folder, going on in it, and starting from the weights of another."""

import re
from typing import ClassVar

import pytest
import torch
from torch import nn

from models.base_model import BaseModel
from tests.damage import Hostile, flip_weight
from util.checkpoint import load_checkpoint, save_checkpoint
from util.engine import Engine, EngineSettings
from util.errors import UserError
from util.exported_weights import export_weights
from util.loss_record import TrainingDiverged
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
    batches_per_pass: ClassVar[dict[str, int]] = {"synthetic": 5}

    def __init__(self, consumed=0):
        self.consumed = consumed

    def state_dict(self):
        return {"synthetic": self.consumed}

    def load_state_dict(self, state):
        self.consumed = state["synthetic"]


def make_run(folder, options=OPTIONS, consumed=0, width=3, ema=0.0, **more):
    engine = Engine(Toy(width), EngineSettings(ema=ema))
    return RunState(folder, options, engine, Streams(consumed), **more)


def train(run, iterations):
    for _ in range(iterations):
        run.iteration += 1
        x = torch.rand(4, 3, generator=torch.Generator().manual_seed(run.iteration))
        run.engine.step({"synthetic": {"x": x}}, Progress(1, run.iteration))


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def saved_iterations(folder):
    return {path.stem: load_checkpoint(path)["iteration"] for path in folder.glob("*.pth") if "_net_" not in path.name}


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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 2}, r"trained with --batch_size 4 \(now 2\), so its place in the data is not known"),
        ({"seed": 1, "batch_size": 2}, r"trained with --batch_size 4 \(now 2\), --seed 0 \(now 1\), so its place"),
        ({"ema": 0.99}, r"trained with --ema 0 \(now 0.99\), so how to go on with its averages is not known"),
    ],
)
def test_options_without_which_the_state_means_nothing_cannot_change(tmp_path, changed, message):
    make_run(tmp_path / "a").save("latest")
    with pytest.raises(UserError, match=rf"{message}.*--load_pretrain .*latest\.pth"):
        make_run(tmp_path / "a", OPTIONS | changed).resume("latest")


def test_other_options_may_change_and_are_told(tmp_path, capsys):
    before = {
        "niter": 10,
        "lr": 0.1,
        "dataroot": "old",
        "gone": 1,
        "max_steps": 5,
        "continue_train": False,
        "html": True,
    }
    now = {"niter": 20, "lr": 0.1, "dataroot": "new", "fresh": None, "max_steps": None, "continue_train": True}
    make_run(tmp_path / "a", OPTIONS | before).save("latest")
    make_run(tmp_path / "a", OPTIONS | now).resume("latest")
    assert capsys.readouterr().err == (
        "options changed since the checkpoint: dataroot old -> new, fresh (not there) -> None, gone 1 -> (not there), "
        "niter 10 -> 20\n"
    )


def test_unchanged_options_are_not_told(tmp_path, capsys):
    make_run(tmp_path / "a").save("latest")
    make_run(tmp_path / "a", OPTIONS | {"max_steps": 7, "ema": 0}).resume("latest")
    make_run(tmp_path / "a", dict(OPTIONS)).resume("latest")
    assert capsys.readouterr().err == "options changed since the checkpoint: ema (not there) -> 0\n"


# Damage, and several processes


@pytest.mark.parametrize(("damage", "reason"), [(flip_weight, "a checksum differs"), (cut, "it is cut off, .*")])
def test_damaged_latest_is_put_aside_and_the_one_before_gone_on_from(tmp_path, capsys, damage, reason):
    run = make_run(tmp_path)
    weights = {}
    for _ in range(2):
        train(run, 3)
        run.save("latest")
        weights[run.iteration] = weight(run)
    damage(tmp_path / "latest.pth")
    damaged = (tmp_path / "latest.pth").read_bytes()
    resumed = make_run(tmp_path)
    resumed.resume("latest")
    assert resumed.iteration == 3
    assert torch.equal(weight(resumed), weights[3])
    said = rf"latest\.pth is damaged \({reason}\); going on from latest_1\.pth, iteration 3\n"
    assert re.fullmatch(said, capsys.readouterr().err)
    train(resumed, 3)
    assert torch.equal(weight(resumed), weights[6])
    resumed.save("latest")
    assert saved_iterations(tmp_path) == {"latest": 6, "latest_1": 3}
    assert (tmp_path / "latest.damaged").read_bytes() == damaged
    assert capsys.readouterr().err == "latest.pth is damaged and was put aside as latest.damaged\n"


def test_missing_latest_is_replaced_by_the_one_before(tmp_path, capsys):
    run = make_run(tmp_path)
    for _ in range(2):
        train(run, 1)
        run.save("latest")
    (tmp_path / "latest.pth").unlink()
    check_run_folder(tmp_path, continue_train=True, overwrite=False)
    resumed = make_run(tmp_path)
    resumed.resume("latest")
    assert capsys.readouterr().err == "latest.pth is missing; going on from latest_1.pth, iteration 1\n"
    train(resumed, 1)
    resumed.save("latest")
    assert saved_iterations(tmp_path) == {"latest": 2, "latest_1": 1}


@pytest.mark.parametrize("epoch", ["40", "best"])
def test_checkpoint_that_was_asked_for_by_name_is_not_replaced(tmp_path, epoch):
    run = make_run(tmp_path)
    run.save("latest")
    run.save("latest", epoch)
    flip_weight(tmp_path / f"{epoch}.pth")
    with pytest.raises(UserError, match=rf"{epoch}\.pth is damaged: .*checksum"):
        make_run(tmp_path).resume(epoch)


def test_damaged_latest_takes_no_place_when_another_checkpoint_is_gone_on_from(tmp_path):
    run = make_run(tmp_path)
    for epochs in (("latest",), ("latest", "40")):
        train(run, 1)
        run.save(*epochs)
    flip_weight(tmp_path / "latest.pth")
    resumed = make_run(tmp_path)
    resumed.resume("40")
    train(resumed, 1)
    resumed.save("latest")
    assert saved_iterations(tmp_path) == {"latest": 3, "latest_1": 1, "40": 2}


def test_folder_of_damaged_checkpoints_alone_has_nothing_to_continue(tmp_path):
    (tmp_path / "latest.damaged").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        check_run_folder(tmp_path, continue_train=True, overwrite=False)
    check_run_folder(tmp_path, continue_train=False, overwrite=False)


def test_hostile_latest_is_refused_and_not_passed_over(tmp_path):
    run = make_run(tmp_path)
    run.save("latest")
    torch.save(
        {"networks": {}, "options": {}, "format": 2, "extra": Hostile(f"touch {tmp_path / 'made'}")},
        tmp_path / "evil.pth",
    )
    (tmp_path / "evil.pth").rename(tmp_path / "latest.pth")
    save_checkpoint(tmp_path, "latest_1", {"networks": {}, "options": {}})
    with pytest.raises(UserError, match=r"latest\.pth .*holds Python objects, which are never loaded"):
        make_run(tmp_path).resume("latest")
    assert not (tmp_path / "made").exists()


def test_latest_has_the_asked_number_of_ones_before_and_others_none(tmp_path):
    run = make_run(tmp_path, keep_last=3)
    for _ in range(4):
        train(run, 1)
        run.save("latest", "best")
    assert saved_iterations(tmp_path) == {"latest": 4, "latest_1": 3, "latest_2": 2, "best": 4}


def test_process_that_does_not_write_takes_part_in_all_else(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path)
    train(run, 2)
    run.save("latest")
    other = make_run(tmp_path, OPTIONS | {"niter": 3}, writes=False)
    other.resume("latest")
    assert (other.iteration, capsys.readouterr().err) == (2, "")
    asked = []
    monkeypatch.setattr(Engine, "check", lambda engine: asked.append("check"))
    monkeypatch.setattr(Engine, "state_dict", lambda engine, tensors: asked.append(f"state_dict {tensors}") or {})
    before = (tmp_path / "latest.pth").read_bytes()
    other.save("latest", "best")
    assert asked == ["check", "state_dict False"]  # copies nothing that it does not write
    assert (tmp_path / "latest.pth").read_bytes() == before
    assert not (tmp_path / "best.pth").exists()


def test_place_in_data_of_another_size_is_not_taken_for_the_same(tmp_path):
    """Twice the pairs would put a run of epoch 50 back into epoch 25."""
    run = make_run(tmp_path, consumed=7)
    run.save("latest")
    other = make_run(tmp_path)
    other.streams.batches_per_pass = {"synthetic": 10}
    before = {name: weight.clone() for name, weight in other.engine.method.state_dict().items()}
    with pytest.raises(UserError, match=r"5 batches in a pass over synthetic \(now 10\).*--load_pretrain .*latest"):
        other.resume("latest")
    assert all(torch.equal(weight, before[name]) for name, weight in other.engine.method.state_dict().items())
    assert other.streams.consumed == 0


def test_state_of_the_engine_comes_back_whole(tmp_path, monkeypatch):
    """Whatever it keeps: nothing of it is known here."""
    run = make_run(tmp_path)
    kept = run.engine.state_dict() | {"more": {"of": [1, torch.ones(2)]}, "random": [{"a": 1}, {"a": 2}]}
    monkeypatch.setattr(Engine, "state_dict", lambda engine, tensors: kept)
    run.save("latest")
    given = []
    monkeypatch.setattr(Engine, "load_state_dict", lambda engine, state: given.append(state))
    make_run(tmp_path).resume("latest")
    assert given[0]["random"] == kept["random"]
    assert torch.equal(given[0]["more"]["of"][1], torch.ones(2))


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


def test_what_a_killed_process_left_half_written_goes_when_the_run_is_opened(tmp_path):
    save_checkpoint(tmp_path / "a", "latest", {"networks": {}, "options": {}})
    (tmp_path / "a" / "web").mkdir()
    for name in (".latest.77.partial.pth", "web/.1.77.partial.png"):
        (tmp_path / "a" / name).touch()
    check_run_folder(tmp_path / "a", continue_train=True, overwrite=False)
    assert (tmp_path / "a" / ".latest.77.partial.pth").exists()
    open_run_folder(tmp_path / "a", OPTIONS, continue_train=True, overwrite=False)
    left = [path.name for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert sorted(left) == ["latest.pth", "opt.yaml"]


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


def test_pretrained_weights_come_from_every_kind_of_file(tmp_path):
    run = make_run(tmp_path / "a")
    run.facts["references"] = {"constant_mm": 50.0}
    run.save("latest")
    export_weights(tmp_path / "a" / "latest.pth", tmp_path / "x_net_G.safetensors")
    for path, facts in (
        (tmp_path / "a", run.facts),
        (tmp_path / "a" / "latest.pth", run.facts),
        (tmp_path / "a" / "latest_net_G.pth", {}),
        (tmp_path / "x_net_G.safetensors", run.facts),
    ):
        method = Toy()
        assert load_pretrained(method, path) == facts
        assert torch.equal(method.net_G.weight, weight(run))


def test_folder_without_latest_gives_the_weights_of_the_one_before(tmp_path):
    run = make_run(tmp_path / "a")
    run.save("latest")
    (tmp_path / "a" / "latest.pth").rename(tmp_path / "a" / "latest_1.pth")
    method = Toy()
    load_pretrained(method, tmp_path / "a")
    assert torch.equal(method.net_G.weight, weight(run))


def test_averages_are_taken_when_they_are_asked_for(tmp_path):
    run = make_run(tmp_path / "a", ema=0.99)
    train(run, 3)
    run.save("latest")
    export_weights(tmp_path / "a" / "latest.pth", tmp_path / "a.safetensors", ema=True)
    averaged = run.engine.averages.state["net_G"]["weight"]
    assert not torch.equal(averaged, weight(run))
    for path, ema in ((tmp_path / "a", True), (tmp_path / "a.safetensors", True), (tmp_path / "a.safetensors", False)):
        method = Toy()
        load_pretrained(method, path, ema=ema)
        assert torch.equal(method.net_G.weight, averaged)
    with pytest.raises(UserError, match=r"latest_net_G\.pth holds no averaged weights"):
        load_pretrained(Toy(), tmp_path / "a" / "latest_net_G.pth", ema=True)


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

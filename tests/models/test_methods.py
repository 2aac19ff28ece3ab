"""The contract of a method, for every method and every preset that there is."""

import pytest
import torch
import yaml

from data import create_streams
from models import create_model, find_model, model_names
from models.base_model import BaseModel
from options.train_options import PRESETS, preset_names
from tests.tiny_run import tiny_options, write_data_set
from util.engine import Engine
from util.run_state import RunState, load_pretrained
from util.updates import Progress

PAIRS_ALONE = {"colon2depth": ["--lambda_video=0", "--lambda_video_step=0"]}
EAGER = {"colon2depth": ["--d_every=1", "--video_start_epoch=0"]}  # all updates in the first iteration


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("data"))


def options_of(name, dataroot, *more):
    return tiny_options(*EAGER.get(name, []), *more, dataroot=dataroot, model=name)


def start_preset(preset, dataroot):
    """Streams and engine of a preset, on a tiny data set."""
    model = yaml.safe_load((PRESETS / f"{preset}.yaml").read_text())["model"]
    opt = tiny_options(f"--preset={preset}", *PAIRS_ALONE.get(model, []), dataroot=dataroot, model=model)
    return create_streams(opt), Engine(create_model(opt))


class UpdateSpy:
    """Writes down, at every optimiser step, which weights have a gradient, and clears all gradients after it."""

    def __init__(self, engine):
        self.engine, self.updates = engine, []
        for name, optimizer in engine.optimizers.items():
            self._watch(name, optimizer)

    def _watch(self, name, optimizer):
        step = optimizer.step

        def watched():
            self.updates.append((name, {key: p.grad for key, p in self.engine.method.named_parameters()}))
            step()
            for parameter in self.engine.method.parameters():
                parameter.grad = None

        optimizer.step = watched


def test_every_file_of_a_method_is_listed_and_has_its_class():
    assert "colon2depth" in model_names()
    assert "base" not in model_names()
    assert all(issubclass(find_model(name), BaseModel) for name in model_names())


def test_unknown_method_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown --model 'psychic', known are: .*colon2depth"):
        find_model("psychic")


@pytest.mark.parametrize("name", model_names())
def test_one_step_gives_finite_terms_and_gradients_for_the_optimiser_it_names_alone(name, dataroot):
    opt = options_of(name, dataroot)
    streams, engine = create_streams(opt), Engine(create_model(opt))
    spy = UpdateSpy(engine)
    engine.step(streams.next(engine.method.active_streams(1)), Progress(1, 1, streams.passes))
    assert {optimizer for optimizer, _ in spy.updates} == set(engine.optimizers)
    for optimizer, gradients in spy.updates:
        groups = engine.optimizers[optimizer].param_groups
        own = {id(p) for group in groups for p in group["params"] if p.requires_grad}
        for key, parameter in engine.method.named_parameters():
            assert (gradients[key] is not None) == (id(parameter) in own), f"{optimizer}: {key}"
            assert gradients[key] is None or gradients[key].isfinite().all(), f"{optimizer}: {key}"
    assert all(value == value and abs(value) < float("inf") for value in engine.losses().values())


@pytest.mark.parametrize("name", model_names())
def test_every_trainable_weight_belongs_to_exactly_one_optimiser(name, dataroot):
    method = create_model(options_of(name, dataroot))
    held = [id(p) for o in method.build_optimizers().values() for group in o.param_groups for p in group["params"]]
    assert len(held) == len(set(held))
    trainable = {id(p) for network in method.networks().values() for p in network.parameters() if p.requires_grad}
    assert trainable == set(held)


@pytest.mark.parametrize("name", model_names())
def test_saved_and_loaded_it_predicts_alike(name, dataroot, tmp_path):
    opt = options_of(name, dataroot)
    streams, engine = create_streams(opt), Engine(create_model(opt))
    engine.step(streams.next(engine.method.active_streams(1)), Progress(1, 1, streams.passes))
    RunState(tmp_path, {"model": name}, engine, streams).save("latest")
    torch.manual_seed(1)
    opt.is_train = False
    loaded = create_model(opt).eval()
    images = torch.rand(2, 3, 32, 40) * 2 - 1
    before = engine.method.eval().predict(images)
    assert not torch.equal(loaded.predict(images), before)
    load_pretrained(loaded, tmp_path / "latest.pth")
    assert torch.equal(loaded.predict(images), before)


@pytest.mark.parametrize("size", [(37, 53), (32, 32), (3, 70)])
@pytest.mark.parametrize("name", model_names())
def test_prediction_has_the_size_of_the_images_whatever_it_is(name, size, dataroot):
    method = create_model(options_of(name, dataroot)).eval()
    depth = method.predict(torch.rand(2, 3, *size) * 2 - 1)
    assert depth.shape == (2, 1, *size)
    assert depth.isfinite().all()
    assert not depth.requires_grad


@pytest.mark.parametrize("name", model_names())
def test_prediction_of_an_image_does_not_depend_on_its_batch(name, dataroot):
    method = create_model(options_of(name, dataroot)).eval()
    images = torch.rand(3, 3, 32, 40) * 2 - 1
    # Sums of another batch may run in another order.
    torch.testing.assert_close(method.predict(images)[1:2], method.predict(images[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", model_names())
def test_pictures_are_what_pages_and_curves_can_show(name, dataroot):
    opt = options_of(name, dataroot)
    streams, engine = create_streams(opt), Engine(create_model(opt))
    pictures = engine.visuals(streams.next(engine.method.active_streams(1)))
    assert pictures
    for picture in pictures.values():
        if isinstance(picture, torch.Tensor):
            assert picture.shape[0] == 3
            assert 0 <= picture.min() <= picture.max() <= 1
        else:
            assert picture.dtype == "uint8"
            assert picture.shape[2] == 3


@pytest.mark.parametrize("preset", preset_names())
def test_looking_at_pictures_draws_no_random_number(preset, dataroot):
    """Else a training would depend on when pictures are due, and a resumed one would not be the same."""
    streams, engine = start_preset(preset, dataroot)
    batch = streams.next(engine.method.active_streams(1))
    before = torch.get_rng_state()
    engine.visuals(batch)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("preset", preset_names())
def test_preset_parses_and_its_method_makes_a_step(preset, dataroot):
    streams, engine = start_preset(preset, dataroot)
    engine.step(streams.next(engine.method.active_streams(1)), Progress(1, 1, streams.passes))
    assert engine.losses()

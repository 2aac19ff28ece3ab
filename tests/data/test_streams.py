"""Streams: every pass a new permutation, the same run for the same seed, and a resumed run where the old one was."""

from argparse import Namespace

import numpy as np
import pytest
import torch

import data
from data.base_dataset import BaseDataset
from data.streams import EndlessBatches, Stream, StreamMixer, build_mixer
from data.transforms import Preprocessing
from util.errors import UserError


class NoisyDataset(BaseDataset):
    """Sample i is i with noise of its augmentation; each also tells the numbers drawn."""

    def __init__(self, size=11, fail_at=None, error=None, sizes=(4,)):
        self.size, self.fail_at, self.error, self.sizes = size, fail_at, error, sizes

    def __len__(self):
        return self.size

    def sample(self, index, rng):
        if index == self.fail_at:
            raise self.error
        width = self.sizes[index % len(self.sizes)]
        image = torch.full((3, 3, width), float(index))
        noise = torch.zeros(2) if rng is None else torch.from_numpy(rng.random(2))
        return {"image": image, "noise": noise}


def stream(batch_size=3, seed=0, num_workers=0, shuffle=True, **dataset):
    return Stream("test", NoisyDataset(**dataset), batch_size, seed=seed, shuffle=shuffle, num_workers=num_workers)


def indices(batch):
    return batch["image"][:, 0, 0, 0].int().tolist()


def take(source, count):
    return [source.next() for _ in range(count)]


@pytest.mark.parametrize(("size", "batch_size"), [(12, 3), (11, 3), (5, 5), (7, 1)])
def test_every_pass_is_a_permutation_and_differs_from_the_one_before(size, batch_size):
    source = stream(batch_size, size=size)
    per_pass = size // batch_size
    assert source.batches_per_pass == per_pass
    passes = [[index for batch in take(source, per_pass) for index in indices(batch)] for _ in range(6)]
    for order in passes:
        assert len(set(order)) == len(order) == per_pass * batch_size
        assert set(order) <= set(range(size))
    assert all(before != after for before, after in zip(passes, passes[1:], strict=False))


def test_what_is_left_over_at_the_end_of_a_pass_is_not_always_the_same():
    source = stream(4, size=5)
    left_over = {(set(range(5)) - set(indices(source.next()))).pop() for _ in range(40)}
    assert left_over == set(range(5))


def test_without_shuffling_samples_come_in_order():
    assert [indices(batch) for batch in take(stream(2, size=5, shuffle=False), 4)] == [[0, 1], [2, 3], [0, 1], [2, 3]]


def test_a_sample_is_augmented_anew_in_every_pass():
    source = stream(5, size=5, shuffle=False)
    noise = torch.stack([batch["noise"] for batch in take(source, 20)]).flatten(0, 1)
    assert len({tuple(row) for row in noise.tolist()}) == 100


def test_the_same_seed_gives_the_same_batches_and_another_one_others():
    first, again, other = (take(stream(seed=seed), 8) for seed in (3, 3, 4))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert [indices(batch) for batch in first] != [indices(batch) for batch in other]
    assert not torch.equal(first[0]["noise"], other[0]["noise"])


def test_batches_do_not_depend_on_the_global_generators():
    first = take(stream(), 5)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - what is proven not to matter
    state = torch.get_rng_state()
    torch.testing.assert_close(take(stream(), 5), first, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("consumed", [2, 3, 7])
def test_a_stream_goes_on_exactly_where_an_undisturbed_one_is(num_workers, consumed):
    undisturbed = take(stream(), 10)
    resumed = stream(num_workers=num_workers)
    resumed.seek(consumed)
    torch.testing.assert_close(take(resumed, 10 - consumed), undisturbed[consumed:], rtol=0, atol=0)
    assert resumed.consumed == 10
    assert resumed.passes == 3


def test_seek_leaves_what_was_loaded_ahead():
    source = stream(num_workers=2)
    take(source, 4)
    source.seek(1)
    torch.testing.assert_close(take(source, 2), take(stream(), 3)[1:], rtol=0, atol=0)


def test_keys_of_a_later_start_are_those_of_the_whole():
    whole, late = iter(EndlessBatches(7, 2, 5, True)), iter(EndlessBatches(7, 2, 5, True, start=4))
    keys = [next(whole) for _ in range(9)]
    assert [next(late) for _ in range(5)] == keys[4:]


def test_augmentation_of_real_samples_is_bit_equal_after_a_resume(tiny_set):
    dataset = data.PairsDataset(tiny_set / "train_A", tiny_set / "train_B", Preprocessing("crop", fine_size=13))
    undisturbed = take(Stream("pairs", dataset, 2, seed=1), 6)
    resumed = Stream("pairs", dataset, 2, seed=1, num_workers=1)
    resumed.seek(4)
    torch.testing.assert_close(take(resumed, 2), undisturbed[4:], rtol=0, atol=0)


def test_a_dataset_smaller_than_a_batch_is_an_error():
    with pytest.raises(UserError, match="the test stream has 2 samples, fewer than a batch of 3"):
        stream(3, size=2)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("error", [UserError("a.png is truncated"), FileNotFoundError(2, "No such file", "a.png")])
def test_a_users_mistake_arrives_as_it_is_from_any_process(num_workers, error):
    source = stream(num_workers=num_workers, fail_at=4, error=error)
    with pytest.raises(type(error)) as caught:
        take(source, 4)
    assert str(caught.value) == str(error)
    assert "Traceback" not in str(caught.value)


def test_after_an_error_the_same_batch_is_tried_again():
    source = stream(num_workers=1, fail_at=4, error=UserError("a.png is truncated"))
    with pytest.raises(UserError):
        take(source, 4)
    failed_at = source.consumed
    source.dataset.fail_at = None
    torch.testing.assert_close(source.next(), take(stream(), failed_at + 1)[-1], rtol=0, atol=0)
    source.seek(0)  # ends the worker at once; the error's traceback would keep it until the garbage is collected


def test_a_fault_of_the_program_is_not_taken_for_a_users_mistake():
    with pytest.raises(ZeroDivisionError, match="oops"):
        take(stream(fail_at=4, error=ZeroDivisionError("oops")), 4)


def test_frames_of_different_size_in_a_batch_are_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match=r"differ in size \(3x4, 3x5\).*--resize_or_crop"):
        take(stream(sizes=(4, 5)), 4)


@pytest.fixture
def mixer():
    return StreamMixer({"synthetic": stream(2, size=7), "video": stream(2, size=4, seed=1)})


def test_the_first_stream_sets_the_epoch_and_the_others_go_round(mixer):
    assert len(mixer) == 3
    seen = []
    for _ in range(7):
        seen.append((mixer.epoch, mixer.position, mixer.passes["synthetic"], mixer.passes["video"]))
        assert set(mixer.next({"synthetic", "video"})) == {"synthetic", "video"}
    assert seen == [(1, 0, 0, 0), (1, 1, 0, 0), (1, 2, 0, 1), (2, 0, 1, 1), (2, 1, 1, 2), (2, 2, 1, 2), (3, 0, 2, 3)]


def test_a_stream_that_is_not_active_does_not_move(mixer):
    assert set(mixer.next(())) == {"synthetic"}
    assert set(mixer.next(("video",))) == {"synthetic", "video"}
    assert {name: source.consumed for name, source in mixer.streams.items()} == {"synthetic": 2, "video": 1}


def test_a_mixer_goes_on_from_its_state(mixer):
    def fresh():
        return StreamMixer({"synthetic": stream(2, size=7), "video": stream(2, size=4, seed=1)})

    for step in range(8):
        mixer.next(("video",) if step > 2 else ())
    resumed = fresh()
    resumed.load_state_dict(mixer.state_dict())
    assert (resumed.epoch, resumed.position, resumed.passes) == (mixer.epoch, mixer.position, mixer.passes)
    for _ in range(5):
        torch.testing.assert_close(resumed.next(("video",)), mixer.next(("video",)), rtol=0, atol=0)


def test_a_state_of_other_streams_is_an_error(mixer):
    with pytest.raises(UserError, match=r"\['synthetic'\], this run \['synthetic', 'video'\]"):
        mixer.load_state_dict({"synthetic": 3})


def test_streams_of_a_mixer_have_seeds_of_their_own():
    datasets = {"synthetic": NoisyDataset(6), "video": NoisyDataset(6)}
    orders = set()
    for seed in (0, 1, 2):
        opt = Namespace(seed=seed, serial_batches=False, num_workers=0)
        batch = build_mixer(datasets, {"synthetic": 6, "video": 6}, opt).next(("video",))
        orders |= {tuple(part["noise"].flatten().tolist()) for part in batch.values()}
    assert len(orders) == 6

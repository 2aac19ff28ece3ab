"""Streams: every pass a new permutation, the same run for the same seed, and a resumed run where the old one was."""

import multiprocessing
import os
import signal
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

import data
from data.batch_order import EndlessBatches
from data.formats import FolderFormat
from data.streams import Stream, StreamMixer, build_mixer
from data.transforms import Preprocessing
from tests.data.noisy_dataset import NoisyDataset, indices, take
from tests.data.noisy_dataset import noisy_stream as stream
from util.errors import UserError

TRUNCATED = UserError("frames/4.png is truncated")


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
    dataset = data.PairsDataset(FolderFormat(tiny_set), "train", Preprocessing("crop", fine_size=13))
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
    source = stream(num_workers=num_workers, faults={4: error})
    with pytest.raises(type(error)) as caught:
        take(source, 4)
    assert str(caught.value) == str(error)
    assert "Traceback" not in str(caught.value)


def test_after_an_error_the_same_batch_is_tried_again():
    source = stream(num_workers=1, faults={4: TRUNCATED})
    with pytest.raises(UserError):
        take(source, 4)
    failed_at = source.consumed
    source.dataset.faults.clear()
    torch.testing.assert_close(source.next(), take(stream(), failed_at + 1)[-1], rtol=0, atol=0)
    source.seek(0)  # ends the worker at once; the error's traceback would keep it until the garbage is collected


def test_a_fault_of_the_program_is_not_taken_for_a_users_mistake():
    with pytest.raises(ZeroDivisionError, match="oops"):
        take(stream(faults={4: ZeroDivisionError("oops")}), 4)


def test_frames_of_different_size_in_a_batch_are_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match=r"differ in size \(3x4, 3x5\).*--resize_or_crop"):
        take(stream(sizes=(4, 5)), 4)


# Several processes


def of_all_ranks(shares):
    """One batch, put together from the shares of the ranks."""
    return {name: torch.cat([share[name] for share in shares]) for name in shares[0]}


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("world", [2, 4])
def test_the_shares_of_all_processes_are_the_batch_of_one(world, num_workers):
    """Over the ends of passes (11 samples, 2 batches a pass), with augmentation."""
    ranks = [stream(4, rank=rank, world=world, num_workers=num_workers) for rank in range(world)]
    for whole in take(stream(4), 5):
        shares = [source.next() for source in ranks]
        assert {len(share["image"]) for share in shares} == {4 // world}
        torch.testing.assert_close(of_all_ranks(shares), whole, rtol=0, atol=0)
    assert {(source.consumed, source.passes) for source in ranks} == {(5, 2)}


def test_the_shares_of_augmented_pictures_are_those_of_one_process(tiny_set):
    dataset = data.PairsDataset(FolderFormat(tiny_set), "train", Preprocessing("crop", fine_size=13))
    ranks = [Stream("pairs", dataset, 4, seed=1, rank=rank, world=2) for rank in range(2)]
    for whole in take(Stream("pairs", dataset, 4, seed=1), 3):
        torch.testing.assert_close(of_all_ranks([source.next() for source in ranks]), whole, rtol=0, atol=0)


def test_another_number_of_processes_goes_on_where_the_first_was():
    expected = take(stream(4), 6)[3:]
    before = stream(4, rank=1, world=2)
    take(before, 3)
    ranks = [stream(4, rank=rank, world=4) for rank in range(4)]
    for source in ranks:
        source.seek(before.consumed)
    for whole in expected:
        torch.testing.assert_close(of_all_ranks([source.next() for source in ranks]), whole, rtol=0, atol=0)


def test_a_batch_that_cannot_be_shared_is_an_error():
    with pytest.raises(UserError, match=r"test stream's batch of 3 cannot be shared by 2 processes; .*multiple of 2"):
        stream(3, world=2)


# Bad samples


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_next_sample_takes_the_place_of_a_bad_one_and_its_seed(num_workers):
    faults = {4: TRUNCATED, 10: FileNotFoundError(2, "No such file", "frames/10.png")}
    source = stream(5, size=11, faults=faults, skip_bad=True, num_workers=num_workers)
    for batch, whole in zip(take(source, 6), take(stream(5, size=11), 6), strict=True):
        assert indices(batch) == [{4: 5, 10: 0}.get(index, index) for index in indices(whole)]
        torch.testing.assert_close(batch["noise"], whole["noise"], rtol=0, atol=0)
    assert source.skipped == {"frames/4.png": "is truncated", "frames/10.png": "No such file"}


def test_a_resumed_stream_skips_as_the_undisturbed_one():
    undisturbed = take(stream(faults={4: TRUNCATED, 5: TRUNCATED}, skip_bad=True), 9)
    resumed = stream(faults={4: TRUNCATED, 5: TRUNCATED}, skip_bad=True)
    resumed.seek(5)
    torch.testing.assert_close(take(resumed, 4), undisturbed[5:], rtol=0, atol=0)


def test_a_mixer_tells_each_skipped_file_once():
    shared = UserError("the picture shared/2.png is broken")
    streams = {
        "synthetic": stream(2, size=6, faults={4: shared, 5: shared}, skip_bad=True),
        "video": stream(2, size=4, faults={1: UserError("no flow")}, skip_bad=True),
    }
    mixer = StreamMixer(streams)
    assert mixer.take_skipped() == []
    for _ in range(6):
        mixer.next(("video",))
    expected = {"shared/2.png": "the picture shared/2.png is broken", "frames/1.png": "no flow"}
    assert mixer.skipped == expected
    assert mixer.take_skipped() == [f"{file}: {why}" for file, why in expected.items()]
    for _ in range(6):
        mixer.next(("video",))
    assert mixer.take_skipped() == []
    assert mixer.skipped == expected


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_is_no_fault_of_a_file_is_not_skipped(num_workers):
    fault = OSError(24, "Too many open files", "frames/4.png")
    with pytest.raises(OSError, match="Too many open files"):
        take(stream(faults={4: fault}, skip_bad=True, num_workers=num_workers), 4)
    with pytest.raises(UserError, match="differ in size"):
        take(stream(sizes=(4, 5), skip_bad=True, num_workers=num_workers), 4)


def test_a_fault_of_the_program_is_not_skipped():
    with pytest.raises(ZeroDivisionError, match="oops"):
        take(stream(faults={4: ZeroDivisionError("oops")}, skip_bad=True), 4)


# Files of a batch


def test_the_files_of_a_batch_are_those_of_its_samples_each_once():
    source = stream(3)
    for number, batch in enumerate(take(stream(3), 7)):
        files = source.files_of(number)
        assert files[0] == Path(f"frames/{indices(batch)[0]}.png")
        assert set(files) == {file for index in indices(batch) for file in source.dataset.files(index)}
        assert len(files) == len(set(files))


def test_the_files_of_a_batch_are_those_of_all_processes():
    assert stream(4, rank=1, world=2).files_of(3) == stream(4).files_of(3)


def test_the_files_of_a_batch_are_those_that_took_the_place_of_bad_ones():
    source = stream(3, size=3, shuffle=False, faults={1: UserError("no")}, skip_bad=True)
    assert indices(source.next()) == [0, 2, 2]
    frames = [file for file in source.files_of(0) if file.parent.name == "frames"]
    assert frames == [Path("frames/0.png"), Path("frames/2.png")]


def test_naming_files_moves_nothing(mixer):
    expected = take(stream(2, size=7), 3)[2]
    for _ in range(2):
        mixer.next(("video",))
    named = mixer.files_of({"synthetic": 5, "video": 0})
    assert named == {"synthetic": stream(2, size=7).files_of(5), "video": stream(2, size=4, seed=1).files_of(0)}
    torch.testing.assert_close(mixer.next(("video",))["synthetic"], expected, rtol=0, atol=0)


# Loader processes that die


def children():
    return {process.pid for process in multiprocessing.active_children()}


def test_a_killed_loader_is_met_where_a_batch_is_asked_for_and_the_others_end():
    before, handler = children(), signal.getsignal(signal.SIGCHLD)
    source = stream(num_workers=2)
    source.next()
    assert signal.getsignal(signal.SIGCHLD) == handler  # PyTorch's would raise in the middle of what comes next
    os.kill(min(children() - before), signal.SIGKILL)
    time.sleep(0.2)
    died = r"loads the test stream died \(killed by signal: Killed\).*/dev/shm.*--num_workers \(now 2\)"
    with pytest.raises(UserError, match=died):
        source.next()
    assert not children() - before
    torch.testing.assert_close(source.next(), take(stream(), 2)[1], rtol=0, atol=0)
    source.seek(0)


@pytest.mark.slow
def test_a_loader_that_dies_while_it_is_waited_for_is_met_too():
    """PyTorch looks after its processes every 5 s."""
    before = children()
    with pytest.raises(UserError, match=r"died \(killed by signal: Killed\)"):
        take(stream(num_workers=2, deadly=4), 4)
    assert not children() - before


# Several streams


@pytest.fixture
def mixer():
    return StreamMixer({"synthetic": stream(2, size=7), "video": stream(2, size=4, seed=1)})


def test_the_first_stream_sets_the_epoch_and_the_others_go_round(mixer):
    assert len(mixer) == 3
    assert mixer.batches_per_pass == {"synthetic": 3, "video": 2}
    seen = []
    for _ in range(7):
        seen.append((mixer.epoch, mixer.first.consumed, mixer.passes["synthetic"], mixer.passes["video"]))
        assert set(mixer.next({"synthetic", "video"})) == {"synthetic", "video"}
    assert seen == [(1, 0, 0, 0), (1, 1, 0, 0), (1, 2, 0, 1), (2, 3, 1, 1), (2, 4, 1, 2), (2, 5, 1, 2), (3, 6, 2, 3)]


def test_an_epoch_may_be_a_number_of_batches_whatever_a_pass_is():
    mixer = StreamMixer({"synthetic": stream(2, size=7)}, epoch_size=4)
    seen = []
    for _ in range(9):
        seen.append((mixer.epoch, mixer.passes["synthetic"]))
        mixer.next(())
    assert len(mixer) == 4
    assert seen == [(1, 0), (1, 0), (1, 0), (1, 1), (2, 1), (2, 1), (2, 2), (2, 2), (3, 2)]
    mixer.load_state_dict({"synthetic": 6})
    assert mixer.epoch == 2


def test_a_stream_that_is_not_active_does_not_move(mixer):
    assert set(mixer.next(())) == {"synthetic"}
    assert set(mixer.next(("video",))) == {"synthetic", "video"}
    assert {name: source.consumed for name, source in mixer.streams.items()} == {"synthetic": 2, "video": 1}


def test_no_stream_of_a_mixer_moves_when_one_has_a_fault():
    video = stream(2, size=4, faults={0: UserError("no")})
    mixer = StreamMixer({"synthetic": stream(2, size=7), "video": video})
    with pytest.raises(UserError, match="no"):
        take_all(mixer, 2)
    moved = mixer.state_dict()
    assert moved["synthetic"] == moved["video"]
    video.dataset.faults.clear()
    expected = stream(2, size=7)
    expected.seek(moved["synthetic"])
    torch.testing.assert_close(mixer.next(("video",))["synthetic"], expected.next(), rtol=0, atol=0)


def take_all(mixer, count):
    return [mixer.next(tuple(mixer.streams)) for _ in range(count)]


def test_a_mixer_goes_on_from_its_state(mixer):
    def fresh():
        return StreamMixer({"synthetic": stream(2, size=7), "video": stream(2, size=4, seed=1)})

    for step in range(8):
        mixer.next(("video",) if step > 2 else ())
    resumed = fresh()
    resumed.load_state_dict(mixer.state_dict())
    assert (resumed.epoch, resumed.passes) == (mixer.epoch, mixer.passes)
    for _ in range(5):
        torch.testing.assert_close(resumed.next(("video",)), mixer.next(("video",)), rtol=0, atol=0)


def test_a_state_of_other_streams_is_an_error(mixer):
    with pytest.raises(UserError, match=r"\['synthetic'\], this run \['synthetic', 'video'\]"):
        mixer.load_state_dict({"synthetic": 3})


def test_streams_of_a_mixer_have_seeds_of_their_own():
    datasets = {"synthetic": NoisyDataset(6), "video": NoisyDataset(6)}
    orders = set()
    for seed in (0, 1, 2):
        opt = Namespace(
            seed=seed, serial_batches=False, num_workers=0, on_bad_sample="raise", gpu_ids=[], epoch_size=None
        )
        batch = build_mixer(datasets, {"synthetic": 6, "video": 6}, opt).next(("video",))
        orders |= {tuple(part["noise"].flatten().tolist()) for part in batch.values()}
    assert len(orders) == 6

"""Read ahead or not, a run gets the same batches, and only those that it got count."""

import pytest
import torch

from data.prefetch import Prefetcher
from data.streams import StreamMixer
from tests.data.noisy_dataset import indices, noisy_stream
from util.errors import UserError

CPU = torch.device("cpu")
PER_PASS = {"synthetic": 3, "video": 2}


def make_mixer(num_workers=0, pin_memory=False, **faults):
    """3 batches of synthetic an epoch, 2 of video a pass."""
    common = {"num_workers": num_workers, "pin_memory": pin_memory}
    synthetic = noisy_stream(2, size=7, faults=faults.get("synthetic"), **common)
    return StreamMixer({"synthetic": synthetic, "video": noisy_stream(2, size=4, seed=1, **common)})


def from_second_epoch(epoch):
    return ("synthetic", "video") if epoch > 1 else ("synthetic",)


def prefetch(mixer, ahead, to_device=lambda batch: batch, active=from_second_epoch):
    return Prefetcher(mixer, active, to_device, device=CPU, ahead=ahead)


def places(source):
    return source.epoch, source.passes, source.state_dict(), source.batches_per_pass


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_and_positions_are_those_of_the_mixer(ahead, num_workers):
    """Over the change of epochs at which another stream becomes active."""
    mixer, source = make_mixer(), prefetch(make_mixer(num_workers), ahead)
    assert len(source) == len(mixer) == 3
    for _ in range(8):
        assert places(source) == places(mixer)
        expected = mixer.next(from_second_epoch(mixer.epoch))
        batch = source.next()
        assert list(batch) == list(expected)
        torch.testing.assert_close(batch, expected, rtol=0, atol=0)
    assert places(source) == places(mixer)


def test_on_the_cpu_nothing_is_read_ahead():
    mixer = make_mixer()
    source = Prefetcher(mixer, from_second_epoch, lambda batch: batch, device=CPU)
    for count in range(1, 5):
        source.next()
        assert mixer.state_dict()["synthetic"] == source.state_dict()["synthetic"] == count


def test_one_batch_is_on_its_way_while_another_is_used():
    sent = []
    source = prefetch(make_mixer(), True, to_device=lambda batch: sent.append(batch) or batch)
    for count in range(2, 6):
        assert source.next() is sent[count - 2]
        assert len(sent) == count
        assert source.streams.state_dict()["synthetic"] == count
        assert source.state_dict()["synthetic"] == count - 1


def test_the_batch_read_ahead_has_the_streams_of_its_own_epoch():
    asked = []
    source = prefetch(make_mixer(), True, active=lambda epoch: asked.append(epoch) or from_second_epoch(epoch))
    assert [list(source.next()) for _ in range(4)] == [["synthetic"]] * 3 + [["synthetic", "video"]]
    assert asked == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_run_goes_on_from_the_state_between_two_batches(ahead):
    whole, parts = prefetch(make_mixer(), ahead), prefetch(make_mixer(), ahead)
    for _ in range(4):
        whole.next()
        parts.next()
    resumed = prefetch(make_mixer(), ahead)
    resumed.load_state_dict(parts.state_dict())
    for _ in range(4):
        torch.testing.assert_close(resumed.next(), whole.next(), rtol=0, atol=0)


def test_loading_a_state_drops_what_was_read_ahead():
    source, state = prefetch(make_mixer(), True), make_mixer().state_dict()
    first = source.next()
    source.load_state_dict(state)
    assert places(source) == (1, {"synthetic": 0, "video": 0}, state, PER_PASS)
    torch.testing.assert_close(source.next(), first, rtol=0, atol=0)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_fault_is_raised_when_its_batch_is_asked_for_and_not_before(ahead):
    good = make_mixer()
    batches = [indices(good.next(())["synthetic"]) for _ in range(3)]
    mixer = make_mixer(synthetic={batches[2][1]: UserError("frame is truncated")})
    source = prefetch(mixer, ahead)
    for _ in range(2):
        source.next()
    assert source.state_dict()["synthetic"] == 2
    for _ in range(2):  # asked again, it tries again
        with pytest.raises(UserError, match="frame is truncated"):
            source.next()
        assert places(source) == (1, {"synthetic": 0, "video": 0}, {"synthetic": 2, "video": 0}, PER_PASS)
    mixer.first.dataset.faults.clear()
    assert indices(source.next()["synthetic"]) == batches[2]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_on_a_gpu_are_those_of_the_mixer(num_workers):
    device, mixer = torch.device("cuda", 0), make_mixer()

    def to_device(batch):
        return {
            name: {key: tensor.to(device, non_blocking=True) for key, tensor in tensors.items()}
            for name, tensors in batch.items()
        }

    source = Prefetcher(make_mixer(num_workers, pin_memory=True), from_second_epoch, to_device, device=device)
    for _ in range(20):
        expected, batch = mixer.next(from_second_epoch(mixer.epoch)), source.next()
        busy = torch.ones(2000, 2000, device=device)
        for _ in range(20):  # the next batch arrives, and this one's memory must still be its own
            busy = busy @ busy / 2000
        for name, tensors in batch.items():
            assert all(tensor.device == device for tensor in tensors.values())
            torch.testing.assert_close({k: (t + 0 * busy[0, 0]).cpu() for k, t in tensors.items()}, expected[name])
    assert places(source) == places(mixer)
